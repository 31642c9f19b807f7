"""The search: its space, its trials in processes of their own, and what is left after a kill."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pandas as pd
import pytest

import mmkeras as mk
from mmkeras.alignment import ALIGNMENTS
from mmkeras.errors import InputError
from mmkeras.files import one_at_a_time
from mmkeras.layers import MeanSquared
from mmkeras.tasks import TASKS
from mmkeras.towers import TOWERS
from mmkeras.training import Training
from mmkeras.tuning import controls
from mmkeras.tuning import folder as folder_of_a_search
from mmkeras.tuning import space as spaces
from mmkeras.tuning.child import read_job, write_job
from mmkeras.tuning.folder import KEYS, at_work, begin_anew, claim
from mmkeras.tuning.objective import objective_of
from mmkeras.tuning.space import FUSION_KINDS, space_of
from mmkeras.tuning.trial import Request, controlled

SPACE = {
    "fusion": ["concat", "gated"],
    "fusion_depth": 1,
    "fusion_dropout": 0.0,
    "width": [4, 8],
    "image": {"kind": "conv", "filters": 2, "depth": 1},
    "audio": {"kind": "spectrogram", "filters": 2, "depth": 1},
    "question": {"kind": "bag", "depth": 1},
    "batch_size": 128,
}


def search(data, directory, **options):
    given = {"space": SPACE, "tuner": "random", "trials": 3, "epochs": 2, "isolation": "none", **options}
    return mk.tune(data, directory=directory, **given)


@pytest.fixture(scope="module")
def found(keypad_splits, tmp_path_factory):
    return search(keypad_splits, tmp_path_factory.mktemp("search") / "found", augment={"audio": {"gain": 6}})


def test_result(found, keypad_splits):
    assert list(found.trials["status"]) == ["COMPLETED"] * 3
    assert len({(row.fusion, row.width, row.learning_rate) for row in found.trials.itertuples()}) == 3
    best = found.completed.iloc[0]
    assert best["score"] == found.trials["score"].max() == max(best["history"]["val_accuracy"])
    assert best["history"]["val_accuracy"][int(best["epoch"])] == best["score"]
    assert (found.best.width, found.best.fusion["kind"]) == (best["width"], best["fusion"])
    assert found.training.learning_rate == best["learning_rate"]
    assert found.training.augment == {"audio": {"gain": 6}}
    assert mk.ModelSpec.from_json(found.best.to_json()) == found.best


def test_the_model_is_the_best_trial(found, keypad_splits):
    model = found.model()
    assert model.count_params() == found.completed["parameters"].iloc[0]
    scores = model.evaluate(mk.batches(keypad_splits["val"], 64), return_dict=True, verbose=0)
    assert scores["accuracy"] == pytest.approx(found.completed["score"].iloc[0], abs=1e-6)


def test_is_read_again_from_its_directory(found):
    again = mk.TuningResult.load(found.directory)
    assert again.trials.equals(found.trials)
    assert again.best == found.best
    assert found.completed["trial"].iloc[0] in repr(again)


def test_kerastuner_opens_the_directory(found, keypad_splits):
    folder, training = found.directory, {"epochs": 2, "augment": {"audio": {"gain": 6}}}
    tuner = keras_tuner.RandomSearch(
        mk.hypermodel(keypad_splits, space=SPACE, **training),
        objective="val_accuracy",
        directory=folder.parent,
        project_name=folder.name,
    )
    trial = tuner.oracle.get_best_trials()[0]
    assert trial.score == found.completed["score"].iloc[0]
    weights = tuner.get_best_models()[0].get_weights()
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(found.model().get_weights(), weights, strict=True))


def test_hypermodel_with_a_tuner_of_keras(keypad_splits, tmp_path):
    model = mk.hypermodel(keypad_splits, space=SPACE, epochs=1)
    tuner = keras_tuner.RandomSearch(model, objective="val_accuracy", max_trials=2, directory=tmp_path, seed=3)
    tuner.search(verbose=0)
    hp = tuner.get_best_hyperparameters()[0]
    assert hp.get("fusion") in SPACE["fusion"]
    assert 3e-4 <= hp.get("learning_rate") <= 5e-3
    assert [trial.status for trial in tuner.oracle.trials.values()] == ["COMPLETED"] * 2


# the space -----------------------------------------------------------------------------------------------------------


def spec_of(schema, given, **values):
    hp = keras_tuner.HyperParameters()
    hp.values.update(values)
    return space_of(schema, given)(hp), hp


def test_default_space(keypad_splits):
    schema = keypad_splits.schema
    spec, hp = spec_of(schema, None, fusion="attention", audio="spectrogram_lstm", question="bag", image="residual")
    assert spec.fusion == {"kind": "attention", "depth": 1, "dropout": 0.0}
    assert [spec.towers[name]["kind"] for name in ("audio", "question")] == ["spectrogram_lstm", "bag"]
    assert ["filters" in spec.towers[name] for name in ("image", "question")] == [True, False]
    assert {"learning_rate", "batch_size", "width"} <= set(hp.values)
    mk.build(schema, spec)


@pytest.mark.parametrize("fusion", FUSION_KINDS)
def test_every_fusion_of_the_default_space_builds(keypad_splits, fusion):
    spec, _ = spec_of(keypad_splits.schema, SPACE | {"fusion": [fusion]})
    mk.build(keypad_splits.schema, spec)


def test_options_beyond_the_default_space(keypad_splits):
    given = {"question": "lstm", "question_layers": [2], "question_width": [8], "width": (4, 6), "fusion": "concat"}
    spec, _ = spec_of(keypad_splits.schema, given)
    assert spec.towers["question"] == {"kind": "lstm", "layers": 2, "width": 8, "dropout": 0.0}
    assert spec.width == 4
    model = mk.build(keypad_splits.schema, spec)
    assert model.get_layer("question_tower").output.shape == (None, 1, 8)
    assert model.get_layer("body").get_layer("question_to_width").units == 4


def test_the_space_of_a_kind_of_ones_own():
    """It is refused until it is known what its tower is chosen from, by `register` or in the space itself."""

    @dataclass(frozen=True)
    class Cloud(mk.inputs.Input):
        shape = (7, 3)

    try:
        mk.inputs.register("Cloud")(Cloud)
        schema = mk.Schema({"cloud": Cloud()}, {"label": mk.Category(["a", "b"])})
        message = r"unknown kind .Cloud.: no list of towers to choose from is known .*register\(Cloud\)"
        with pytest.raises(InputError, match=message):
            space_of(schema)
        assert spec_of(schema, {"cloud": ["conv1d", "gru"]})[0].towers["cloud"]["kind"] == "conv1d"
        spaces.register(Cloud)(["gru", "lstm"])
        assert spec_of(schema, None)[0].towers["cloud"] == {"kind": "gru", "dropout": 0.0}
    finally:
        mk.inputs.INPUTS.pop("Cloud")
        spaces.CHOICES.pop(Cloud, None)


def test_whole_numbers_among_fractions(keypad_splits):
    _, hp = spec_of(keypad_splits.schema, SPACE | {"fusion_dropout": [0, 0.5]}, fusion_dropout=0.0)
    assert {part.name: part for part in hp.space}["fusion_dropout"].values == [0.0, 0.5]


def test_modality_dropout_is_searched_where_an_input_is_optional(keypad_manifest):
    schema = mk.Schema({"image": mk.Image(8, 8, 1, optional=True), "question": mk.Text(16)}, {"answer": mk.Category()})
    data = mk.read(keypad_manifest, schema).split("split")
    spec, _ = spec_of(data.schema, None, modality_dropout=0.25)
    assert spec.modality_dropout == 0.25


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fusoin": ["concat"]}, "space: unknown hyperparameter 'fusoin'; did you mean 'fusion'"),
        ({"image_filtres": [4]}, "space: unknown hyperparameter 'image_filtres'; did you mean 'image_filters'"),
        ({"question": "bag", "question_layers": [1]}, "space: unknown hyperparameter 'question_layers'"),
        ({"fusion": ["conct"]}, "space: 'fusion': unknown fusion 'conct'; did you mean 'concat'"),
        ({"image": ["cnv"]}, "space: 'image': unknown tower 'cnv'; did you mean 'conv'"),
        ({"width": []}, "space: 'width': expected a list of choices, .* received \\[\\]"),
        ({"width": (64, 32)}, "space: 'width': expected \\(lowest, highest\\), received \\(64, 32\\)"),
        ({"image": {"kind": "conv"}, "image_filters": [4]}, "'image' is one part with its options, so 'image_filters'"),
        (7, "space: expected a function hp -> ModelSpec or a dict, received 7"),
    ],
)
def test_a_wrong_space_is_refused(keypad_splits, given, message):
    with pytest.raises(InputError, match=message):
        space_of(keypad_splits.schema, given)


def test_objective(keypad_splits):
    schema = keypad_splits.schema
    assert objective_of(schema) == ("val_accuracy", "max")
    assert objective_of(schema, "val_loss") == ("val_loss", "min")
    two = mk.Schema(schema.inputs, {"price": mk.Number(mean=0, std=1), **schema.targets})
    assert objective_of(two) == ("val_price_mae", "min")
    assert objective_of(two, "val_answer_accuracy") == ("val_answer_accuracy", "max")
    with pytest.raises(InputError, match="unknown objective 'val_acuracy'; did you mean 'val_accuracy'"):
        objective_of(schema, "val_acuracy")
    with pytest.raises(InputError, match="tune: unknown value of the objective's direction 'down'; Known: max, min"):
        objective_of(schema, ("val_loss", "down"))


class TopTwo(mk.tasks.Softmax):
    """A task of one's own, judged by another metric, which does not say which way it is better."""

    def metrics(self, target):
        """The share of the rows whose class is among the two most probable."""
        metric = keras.metrics.MeanMetricWrapper(keras.metrics.sparse_top_k_categorical_accuracy, "top2", k=2)
        return [metric, keras.metrics.SparseCategoricalCrossentropy(name="nats")]


@pytest.fixture
def top_two():
    mk.tasks.register("top_two")(TopTwo)
    yield
    del TASKS["top_two"]


def test_objective_of_the_tasks_in_the_space(keypad_splits, top_two):
    schema = keypad_splits.schema
    of_dict, of_function = (
        {"answer": {"kind": "top_two", "dropout": 0.1}},
        lambda hp: mk.ModelSpec(tasks={"answer": "top_two"}),
    )
    for space in (of_dict, {"answer": "top_two"}, {"answer": ["top_two"]}, of_function):
        assert objective_of(schema, ("val_top2", "max"), space) == ("val_top2", "max")
        assert objective_of(schema, "val_nats", space) == ("val_nats", "min")
        with pytest.raises(InputError, match="metric 'top2': expected its attribute direction to be 'max' or 'min'"):
            objective_of(schema, None, space)
        with pytest.raises(InputError, match="unknown objective 'val_accuracy'"):
            objective_of(schema, "val_accuracy", space)
    both = {"answer": ["softmax", "top_two"]}
    assert objective_of(schema, "val_loss", both) == ("val_loss", "min")
    with pytest.raises(InputError, match="expected an objective, as the tasks of the space have no metric in common"):
        objective_of(schema, None, both)


def test_tasks_in_the_space(keypad_splits, top_two):
    space = SPACE | {"answer": ["softmax", "top_two"], "answer_focal": [0.0, 2.0], "answer_weight": 2.0}
    spec, _ = spec_of(keypad_splits.schema, space, answer="top_two", answer_focal=2.0)
    assert spec.tasks == {"answer": {"kind": "top_two", "focal": 2.0, "weight": 2.0}}
    assert spec_of(keypad_splits.schema, SPACE)[0].tasks == {}
    with pytest.raises(InputError, match="'answer': expected a task for Category"):
        space_of(keypad_splits.schema, {"answer": ["linear"]})
    with pytest.raises(InputError, match="unknown hyperparameter 'answer_focul'; did you mean 'answer_focal'"):
        space_of(keypad_splits.schema, {"answer": "softmax", "answer_focul": [1.0]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tuner": "grid"}, "unknown tuner 'grid'"),
        ({"isolation": "thread"}, "unknown isolation 'thread'"),
        ({"trials": 0}, "expected trials to be a whole number above 0, received 0"),
        ({"workers": 2}, "expected isolation='process' with workers=2, received 'none'"),
        ({"time_limit": 0}, "expected time_limit .minutes. to be a number above 0, received 0"),
        ({"epoch": 3}, "unknown option of training: 'epoch'; did you mean 'epochs'"),
        ({"trails": 3}, "unknown option of training: 'trails'; did you mean 'trials'"),
        ({"space": lambda hp: "concat"}, "space: expected it to return a ModelSpec, received 'concat'"),
        ({"space": lambda hp: mk.ModelSpec(fusion=len)}, "expected parts by name, received <built-in function len>"),
    ],
)
def test_a_wrong_search_is_refused(keypad_splits, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        search(keypad_splits, tmp_path / "search", **options)


def test_shards_are_searched(keypad_splits, tmp_path):
    shards = {}
    for split in ("train", "val"):
        mk.write_shards(keypad_splits[split], tmp_path / split, shards=2)
        shards[split] = mk.read_shards(tmp_path / split)
    result = search(shards, tmp_path / "search", trials=1, epochs=1)
    assert list(result.trials["status"]) == ["COMPLETED"]


def test_rows_to_choose_by_are_asked_for(keypad_splits, tmp_path):
    with pytest.raises(InputError, match="tune: expected data with 'val', received train"):
        search({"train": keypad_splits["train"]}, tmp_path)


def test_a_directory_holds_one_search(found, keypad_splits):
    with pytest.raises(InputError, match="holds a search with another training"):
        search(keypad_splits, found.directory, epochs=3)
    with pytest.raises(InputError, match="holds a search with another space"):
        search(keypad_splits, found.directory, epochs=2, augment={"audio": {"gain": 6}}, space=SPACE | {"width": [4]})


def empty(folder, schema, **change):
    """A search's folder in which nothing was done yet, with what a user put into it."""
    folder.mkdir()
    (folder / "search.json").write_text(json.dumps(dict.fromkeys(KEYS) | change))
    schema.save(folder / "schema.json")
    for name in ("trial_0/outcome.json", "trial_0/notes.txt", "report/report.md", "data/search.json", "thesis.tex"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
    (folder / "a.json").write_text("{}")  # KerasTuner's of a worker
    return folder


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_overwrite_removes_the_search_alone(keypad_splits, tmp_path):
    folder = empty(tmp_path / "search", keypad_splits.schema)
    with pytest.warns(UserWarning, match=r"stays: 'data', 'report', 'thesis\.tex' and 1 more"):
        begin_anew(folder)
    assert files(folder) == ["data/search.json", "report/report.md", "thesis.tex", "trial_0/notes.txt"]
    before = files(folder)
    with pytest.raises(InputError, match=r"overwrite=True: expected a folder with a search .* nothing was removed"):
        search(keypad_splits, folder, overwrite=True)
    assert files(folder) == before


def test_overwrite_follows_no_link(keypad_splits, tmp_path):
    folder = empty(tmp_path / "search", keypad_splits.schema)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "outcome.json").write_text("mine")
    (folder / "trial_1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="trial_1' is a link, and what is behind it is not removed"):
        begin_anew(folder)
    (folder / "trial_1").unlink()
    (folder / "trial_0" / "log.txt").symlink_to(tmp_path / "elsewhere" / "outcome.json")
    (tmp_path / "link").symlink_to(folder)
    with pytest.warns(UserWarning, match="stays: "):
        begin_anew(tmp_path / "link")
    assert (tmp_path / "elsewhere" / "outcome.json").read_text() == "mine"
    assert "trial_0/log.txt" in files(folder)
    assert "trial_0/outcome.json" not in files(folder)


@pytest.mark.parametrize("content", ['{"query": "mine"}', "[]", "no JSON"])
def test_a_search_file_that_is_not_ours(keypad_splits, tmp_path, content):
    (tmp_path / "search.json").write_text(content)
    (tmp_path / "data.csv").write_text("mine")
    with pytest.raises(InputError, match="nothing was removed"):
        search(keypad_splits, tmp_path, overwrite=True)
    with pytest.raises(InputError, match=r"search\.json' is there already, and it is not of a search"):
        search(keypad_splits, tmp_path)
    assert files(tmp_path) == ["data.csv", "search.json"]
    assert (tmp_path / "search.json").read_text() == content


def test_the_schema_is_written_before_the_search_file(keypad_splits, tmp_path, monkeypatch):
    """Killed between the two: the same call goes on; a schema of somebody else's is not replaced."""
    settings = dict.fromkeys(KEYS - {"schema"})

    def killed(path, content):
        raise KeyboardInterrupt

    monkeypatch.setattr(folder_of_a_search, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        claim(tmp_path, keypad_splits.schema, settings)
    assert files(tmp_path) == ["schema.json"]
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"schema\.json' is there already, of another schema"):
        claim(tmp_path, mk.Schema({"word": mk.Text(2)}, {}), settings)
    claim(tmp_path, keypad_splits.schema, settings)
    (tmp_path / "schema.json").unlink()  # as an older version left it
    claim(tmp_path, keypad_splits.schema, settings)
    assert files(tmp_path) == ["schema.json", "search.json"]


def test_one_search_at_a_time(keypad_splits, tmp_path):
    with (
        one_at_a_time(tmp_path, ""),
        pytest.raises(InputError, match=rf"tune: another process is at work in .* \(process {os.getpid()} on "),
    ):
        search(keypad_splits, tmp_path, overwrite=True)
    with (
        at_work(tmp_path, None),
        at_work(tmp_path, "a"),  # a chief and its workers
        at_work(tmp_path, "b"),
        pytest.raises(InputError, match="another process is at work"),
        at_work(tmp_path, "a"),
    ):
        pass
    assert files(tmp_path) == []
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"tune: cannot write to '.*file/search': Not a directory"):
        search(keypad_splits, tmp_path / "file" / "search")


def test_what_another_put_in_the_place_of_the_data_is_not_unpickled(keypad_splits, tmp_path):
    sha256 = write_job({}, tmp_path)
    assert read_job(tmp_path, sha256) == {}
    (tmp_path / "job.pkl").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(InputError, match="is not the file that the search wrote"):
        read_job(tmp_path, sha256)


# failures ------------------------------------------------------------------------------------------------------------


def failing(hp):
    """One good spec among such as cannot be built, diverge or are too large."""
    kind = hp.Choice("how", ["good", "invalid", "diverges", "large"])
    with hp.conditional_scope("how", ["diverges"]):
        hp.Fixed("learning_rate", 1e30)
    parts = {name: SPACE[name] for name in ("image", "audio", "question")}
    fusion = {"good": "concat", "diverges": "concat", "large": "concat"}.get(kind, {"kind": "attention", "heads": 3})
    if kind == "large":
        parts["image"] = {"kind": "conv", "filters": 3_000_000, "depth": 2}
    return mk.ModelSpec(towers=parts, fusion=fusion, width=4)


def test_failures_are_entered_with_their_reason_and_the_search_goes_on(keypad_splits, tmp_path, capsys):
    result = search(keypad_splits, tmp_path / "search", space=failing, trials=4, epochs=1)
    reasons = result.trials.set_index("how")["reason"]
    assert result.trials.set_index("how")["status"].to_dict() == {
        "good": "COMPLETED",
        "invalid": "FAILED",
        "diverges": "FAILED",
        "large": "FAILED",
    }
    assert "multiple of heads" in reasons["invalid"]
    assert "nan" in reasons["diverges"]
    assert reasons["large"].startswith("out of memory")
    assert "multiple of heads" in repr(result)
    assert "failed: the loss is nan" in capsys.readouterr().out


def test_no_completed_trial_is_an_error_with_the_reasons(keypad_splits, tmp_path):
    space = {name: domain for name, domain in SPACE.items() if "fusion" not in name}
    space["fusion"] = {"kind": "attention", "heads": 3}
    with pytest.raises(InputError, match=r"expected at least one completed trial, .*multiple of heads.* \(2 trials\)"):
        search(keypad_splits, tmp_path / "search", space=space, trials=2)
    assert len(mk.TuningResult.load(tmp_path / "search", complete=False).trials) == 2


def test_hyperband_goes_on_with_the_best(keypad_splits, tmp_path):
    result = search(keypad_splits, tmp_path / "search", tuner="hyperband", epochs=3, trials=4)
    later = result.trials[result.trials["tuner/initial_epoch"] > 0]
    assert len(later)
    assert (later["history"].map(lambda history: len(history["loss"])) == 2).all()


# processes -----------------------------------------------------------------------------------------------------------

PROGRAM = '''
import json, os, signal, sys
import mmkeras as mk

@mk.towers.register("dies")
def dies(x, *, feature, width, name, how="exit"):
    """A tower of a program's own."""
    if how == "kill" and "mmkeras.tuning." in " ".join(sys.orig_argv):
        os.kill(os.getpid(), signal.SIGKILL)
    import keras
    return mk.Tokens(keras.layers.Reshape((1, width))(keras.layers.Dense(width)(keras.layers.Flatten()(x))))

manifest, directory, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
schema = mk.Schema({{"image": mk.Image(8, 8, 1), "audio": mk.Audio(8000, 0.3)}}, {{"answer": mk.Category()}})
if __name__ == "__main__":
    result = mk.tune(mk.read(manifest, schema).split("split"), directory=directory, **options)
    print(result)
'''.replace("{{", "{").replace("}}", "}")


class Near(MeanSquared):
    """A registered alignment."""


def test_registered_parts_reach_the_trials(keypad_splits, tmp_path, top_two):
    """A tower made of a model, a task with nothing of its own, an alignment: in processes of their own."""
    keras.utils.set_random_seed(0)
    backbone = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    mk.towers.register("eye")(mk.towers.from_model(backbone))
    mk.tasks.register("again")(mk.tasks.Softmax())
    mk.alignment.register("near")(Near)

    def space(hp):
        tasks = {"answer": hp.Choice("answer", ["top_two", "again"])}
        towers = {"image": "eye", "audio": SPACE["audio"], "question": SPACE["question"]}
        return mk.ModelSpec(towers=towers, tasks=tasks, width=4, align={"kind": "near", "dim": 4})

    try:
        options = {"isolation": "process", "trials": 2, "epochs": 1, "objective": ("val_loss", "min")}
        found = search(keypad_splits, tmp_path / "search", space=space, **options)
    finally:
        del TOWERS["eye"], TASKS["again"], ALIGNMENTS["near"]
    assert list(found.trials["status"]) == ["COMPLETED"] * 2, list(found.trials["reason"])
    metrics = {
        task: history.keys() for task, history in zip(found.trials["answer"], found.trials["history"], strict=True)
    }
    assert "val_top2" in metrics["top_two"]
    assert "val_accuracy" in metrics["again"]


OWN_SPACE = {
    "fusion": ["concat", "multiply"],
    "fusion_depth": 1,
    "fusion_dropout": 0.0,
    "width": [4, 6, 8],
    "image": {"kind": "conv", "filters": 2, "depth": 1},
    "audio": {"kind": "spectrogram", "filters": 2, "depth": 1},
    "batch_size": 128,
}


@pytest.fixture
def program(tmp_path, keypad_manifest):
    """Start a search in a fresh interpreter; returns the process."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)

    def start(directory, **options):
        given = {"tuner": "random", "trials": 3, "epochs": 1, "space": OWN_SPACE, **options}
        command = [sys.executable, str(path), str(keypad_manifest), str(directory), json.dumps(given)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        # a shell has what it runs in the background ignore SIGINT, and children inherit that
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            return subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
            )
        finally:
            signal.signal(signal.SIGINT, before)

    return start


def trial_processes(directory):
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if b"mmkeras.tuning." in command and str(directory).encode() in command:
            found.append(int(path.parent.name))
    return found


def test_a_crash_is_the_trials_failure(program, tmp_path):
    space = OWN_SPACE | {"image": "dies", "image_how": ["exit", "kill"], "fusion": "concat", "width": 4}
    process = program(tmp_path / "search", space=space, trials=3)
    told, _ = process.communicate()
    assert process.returncode == 0, told
    trials = mk.TuningResult.load(tmp_path / "search").trials
    assert set(trials.loc[trials["image_how"] == "kill", "status"]) <= {"FAILED"}
    assert set(trials.loc[trials["image_how"] == "exit", "status"]) <= {"COMPLETED"}
    assert trials["image_how"].nunique() == 2
    assert "the process was ended by SIGKILL" in told


def test_time_limit(keypad_splits, tmp_path):
    with pytest.raises(InputError, match=r"time limit of 0\.6 s"):
        search(keypad_splits, tmp_path / "search", trials=1, isolation="process", time_limit=0.01)
    assert not trial_processes(tmp_path)


def test_interrupted_tells_the_table(program, tmp_path):
    process = program(tmp_path / "search", trials=20, workers=2)
    for line in process.stdout:
        if line.startswith("trial 0"):
            break
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=240)
    assert "interrupted; the same call goes on." in told
    assert " trials completed" in told
    assert not trial_processes(tmp_path)


def test_two_workers_share_the_trials(keypad_splits, tmp_path):
    result = search(keypad_splits, tmp_path / "search", isolation="process", workers=2, trials=2, epochs=1)
    assert list(result.trials["status"]) == ["COMPLETED"] * 2
    began = [path.stat().st_mtime for path in sorted(result.directory.glob("trial_*/request.json"))]
    ended = [path.stat().st_mtime for path in sorted(result.directory.glob("trial_*/outcome.json"))]
    assert began[1] < ended[0]


# features and controls -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(keypad_manifest):
    schema = mk.Schema({"image": mk.Image(8, 8, 1), "question": mk.Text(16)}, {"answer": mk.Category()})
    return mk.read(keypad_manifest, schema).split("split")


@pytest.fixture(scope="module")
def cached(pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "cached"
    space = {name: domain for name, domain in SPACE.items() if name != "audio"}
    return search(pair, folder, space=space, features="cached", check=2, controls=1, trials=2), folder


def test_a_search_on_cached_features(cached, pair):
    result, folder = cached
    assert list(result.trials["status"]) == ["COMPLETED"] * 2
    assert result.hyperparameters == [
        "batch_size",
        "fusion",
        "fusion_depth",
        "fusion_dropout",
        "learning_rate",
        "width",
    ]
    base = mk.build(pair.schema, towers={name: SPACE[name] for name in ("image", "question")})
    base.load_weights(folder / "towers" / "checkpoint.weights.h5")
    trial = result.completed["trial"].iloc[0]
    model = mk.build(pair.schema, result.best)
    model.load_weights(folder / f"trial_{trial}" / "checkpoint.weights.h5")
    for name in ("image_tower", "question_tower"):
        ours, theirs = model.get_layer(name).get_weights(), base.get_layer(name).get_weights()
        assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))
    # what was found on features is what the whole model has
    model.compile(**mk.compile_args(pair.schema))
    scores = model.evaluate(mk.batches(pair["val"], 64), return_dict=True, verbose=0)
    assert scores["accuracy"] == pytest.approx(result.completed["score"].iloc[0], abs=1e-6)


def test_the_winner_is_trained_on_as_a_whole(cached, pair):
    result, _ = cached
    assert result.tuned.status == "COMPLETED"
    scores = result.model().evaluate(mk.batches(pair["val"], 64), return_dict=True, verbose=0)
    assert scores["accuracy"] == pytest.approx(result.tuned.score, abs=1e-6)


def test_agreement_of_features_with_whole_models(cached):
    result, _ = cached
    assert list(result.checked["trial"]) == [result.completed["trial"].iloc[place] for place in (0, -1)]
    assert result.checked["full"].notna().all()
    assert result.agreement in (-1.0, 1.0) or result.checked["full"].nunique() == 1
    assert "cached features against whole models, 2 trials: " in repr(result)


def test_controls(cached, pair):
    result, _ = cached
    controls = result.controls
    names = list(pair.schema.inputs)
    expected = [(role, name) for role in ("alone", "shuffled") for name in names] + [("fused", "")]
    assert sorted({(row.role, row.input) for row in controls.itertuples()}) == sorted(expected)
    assert set(controls["seed"]) == {0}
    assert controls["test"].notna().all()
    assert result.worth.startswith("Is fusion worth it?")
    folder = result.report()
    assert "Is fusion worth it?" in (folder / "report.md").read_text()
    assert (folder / "controls.png").stat().st_size > 10_000
    assert len(pd.read_csv(folder / "controls.csv")) == len(controls)
    alone = {row.input: row.parameters for row in controls.itertuples() if row.role == "alone"}
    whole = controls.loc[controls["role"] == "fused", "parameters"].iloc[0]
    assert all(count < whole for count in alone.values())


def test_what_controls_say():
    def rows(role, name, scores):
        return [(role, name, seed, "COMPLETED", 0.5, score, 1, 1.0, "") for seed, score in enumerate(scores)]

    table = pd.DataFrame(
        rows("fused", "", [0.90, 0.91, 0.92])
        + rows("alone", "image", [0.60, 0.62, 0.61])
        + rows("alone", "audio", [0.30, 0.31, 0.30])
        + rows("shuffled", "image", [0.40, 0.41, 0.39])
        + rows("shuffled", "audio", [0.90, 0.90, 0.93]),
        columns=controls.COLUMNS,
    )
    said = controls.worth(table, ("val_accuracy", "max"))
    assert "Yes: accuracy on 'test' is 0.910 ± 0.025 with all modalities and 0.610 ± 0.025 with image alone" in said
    assert "the gain is 0.300 ± 0.025" in said
    assert "Without a clear loss: audio." in said
    assert "No: " in controls.worth(table, ("val_loss", "min"))
    one = controls.worth(table[table["seed"] == 0], ("val_accuracy", "max"))
    assert one.startswith("Is fusion worth it? One seed cannot tell: accuracy on 'test' is 0.900 with all modalities")
    assert "interval" not in one
    assert "clear loss" not in one


def test_a_modality_alone_has_the_options_that_concat_has(keypad_splits):
    spec = mk.ModelSpec(fusion={"kind": "gated", "depth": 0, "dropout": 0.2}, towers={"image": "conv", "audio": "lstm"})
    training = Training(augment={"image": {"flip": True}, "audio": {"gain": 6}})
    request = controls.alone(Request(spec, training, ("val_accuracy", "max")), keypad_splits.schema, "audio")
    assert request.spec == mk.ModelSpec(fusion={"kind": "concat", "dropout": 0.2}, towers={"audio": "lstm"})
    assert (request.inputs, request.training.augment) == (("audio",), {"audio": {"gain": 6}})


def test_shuffled_control_exchanges_the_values(keypad_splits):
    request = Request(mk.ModelSpec(), Training(), ("val_accuracy", "max"), shuffled="image")
    changed = controlled(keypad_splits, request)["train"].frame
    given = keypad_splits["train"].frame
    assert sorted(changed["image"]) == sorted(given["image"])
    assert (changed["image"].to_numpy() != given["image"].to_numpy()).mean() > 0.5
    assert changed.drop(columns="image").equals(given.drop(columns="image"))
