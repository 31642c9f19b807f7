"""`mk.tune`: the search itself."""

import contextlib
import gc
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import keras
import keras_tuner

from mmkeras.checks import check_choice, check_number, check_whole
from mmkeras.disk import check_path, disk_reason
from mmkeras.errors import InputError, unknown
from mmkeras.files import private_folder
from mmkeras.model import build
from mmkeras.model_spec import ModelSpec
from mmkeras.pipeline import Shards
from mmkeras.records import Records
from mmkeras.training import Training
from mmkeras.tuning.child import environment, run_in_child, write_job
from mmkeras.tuning.controls import CONTROLS, requests
from mmkeras.tuning.features import TOWERS, features_of, on_features, once, tuned
from mmkeras.tuning.features import check as compare
from mmkeras.tuning.folder import at_work, begin_anew, claim
from mmkeras.tuning.forks import Forks, forkable
from mmkeras.tuning.model import Space, SpecModel, require_splits
from mmkeras.tuning.objective import objective_of
from mmkeras.tuning.oracle import oracle_of
from mmkeras.tuning.result import TuningResult
from mmkeras.tuning.space import space_of, towers_of
from mmkeras.tuning.trial import WEIGHTS, Request, run, whole
from mmkeras.tuning.tuner import Search, role

TUNERS, ISOLATIONS = ("bayesian", "random", "hyperband"), ("process", "none")


def tune(
    data: Mapping[str, Records | Shards],
    *,
    space: Space = None,
    tuner: str = "bayesian",
    trials: int = 30,
    directory: str | os.PathLike[str] = "tuning",
    objective: str | tuple[str, str] | None = None,
    isolation: str = "process",
    workers: int = 1,
    time_limit: float | None = None,
    features: str | None = None,
    towers: ModelSpec | tuple[ModelSpec, keras.Model] | None = None,
    check: int = 4,
    controls: int = 0,
    lost_after: float = 60.0,
    overwrite: bool = False,
    seed: int = 0,
    **training: Any,
) -> TuningResult:
    """Search for the best `ModelSpec`, and for the learning rate and batch size that suit it.

    The search uses KerasTuner, and `directory` is a project of KerasTuner's. Each trial is trained in a process of its
    own, so that its memory is released and a crash ends only this trial. A trial can fail by an invalid combination, a
    NaN loss, a lack of memory or the time limit; it is listed with the reason, and the search goes on.
    If the search is stopped or killed, the same call continues it. One search at a time runs in a directory.

    Over several machines with a common folder: see `mmkeras tune --help`, or set KerasTuner's own variables
    KERASTUNER_TUNER_ID ("chief", or a name of the worker), KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT, and make
    the same call in every process. If a worker gives no sign of life for `lost_after` seconds, another gets its trial.

    Args:
        data: mapping of "train" and "val" to `Records` or `Shards` with one fitted schema, as from `records.split`.
        space: the choices. None: kinds of fusion and towers, widths, depth, dropout, learning rate and batch size, see
            `mmkeras.tuning.space.domains`; a dict of some of these names to other choices, as
            `{"fusion": ["concat", "gated"], "width": [32, 64], "image": {"kind": "conv", "filters": 16}}`; or a
            function `hp -> ModelSpec` of KerasTuner's hyperparameters; its "learning_rate" and "batch_size" are used
            for the training.
        tuner: "bayesian" (a third of the trials at random, then by a Gaussian process), "random" or "hyperband".
        trials: number of trials, including failed ones.
        directory: folder of the search.
        objective: metric on the validation rows, as "val_accuracy", or a pair of that and "max" or "min"; None: the
            first metric of the first target's task. A trial's score is that of its best epoch.
        isolation: "process", or "none": trials run in this process, which starts faster, but a crash ends the search.
        workers: number of trials at a time, with isolation="process"; each gets its share of the processor's cores.
        time_limit: minutes for a trial.
        features: "cached": the towers are trained once and run over all rows, and each trial trains the layers after
            them, in this process and without augmentation. Then `check` trials, from the best to the worst, are trained
            as whole models, to compare the cheap ranking with the full one (`.agreement`), and the best model is
            trained further as a whole (`.tuned`, `.model()`).
        towers: with features="cached", a `ModelSpec` of towers to train first; or a pair of that and a trained
            `keras.Model` that `build` made of it. None: for each input the first tower that the space names.
        check: number of trials to train whole, with features="cached".
        controls: number of seeds. For each, the best spec is trained again, then with each modality alone and with each
            modality shuffled among the rows, for as many epochs: this shows whether fusion is worth it (`.controls`,
            `.worth`). They are scored on "test" too, if there is such a split.
        lost_after: seconds, for several machines, see above.
        overwrite: begin anew: remove the search that the directory holds, and nothing else of what is in it.
        seed: of the search and of every trial.
        training: options of `mmkeras.training.Training`: epochs, augment, class_weight, group_by, weight_decay, ...

    Returns:
        `TuningResult`.

    Raises:
        InputError: an unknown option; a directory that holds another search, or in which another process searches; with
            overwrite, one that holds other files but no search; no completed trial, with the reasons.
    """
    _check(tuner, trials, isolation, workers, time_limit, features)
    require_splits(data, "tune")
    schema = data["train"].schema
    objective = objective_of(schema, objective, space)
    plan = Training.from_options({**training, "seed": seed}, beside=tune)
    ask = space_of(schema, space)  # refused before there is a folder
    folder, worker = (
        check_path(directory, "tune: ").absolute(),
        os.environ["KERASTUNER_TUNER_ID"] if role() == "worker" else None,
    )
    settings = {"tuner": tuner, "objective": objective, "seed": seed, "training": training, "features": features}
    settings["space"] = "a function" if callable(space) else space
    splits = ("train", "val", "test") if controls and "test" in data else ("train", "val")
    rows = {} if role() == "chief" and not controls else {split: data[split] for split in splits}
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(at_work(folder, worker))
            if overwrite and not worker:
                begin_anew(folder)
            claim(folder, schema, settings)
            runner = stack.enter_context(_runner(rows, folder, isolation, workers, time_limit))
        except OSError as error:
            raise InputError(f"tune: cannot write to {str(folder)!r}: {disk_reason(error)}") from error
        try:
            model, train = SpecModel(data, ask, plan), runner
            if features:
                model, train = _on_features(data, space, towers, plan, objective, folder, runner, time_limit)
            oracle = oracle_of(tuner, keras_tuner.Objective(*objective), trials, plan.epochs, seed + 1)
            Search(oracle, model, train, folder, lost_after).run(workers)
            result = TuningResult.load(folder)
            if not worker:
                _afterwards(result, runner, check if features else 0, controls, "test" in splits)
        except KeyboardInterrupt:
            print(f"\ninterrupted; the same call goes on.\n{TuningResult.load(folder, complete=False)}")
            raise
    return TuningResult.load(folder)


def _on_features(data, space, towers, training, objective, folder, runner, time_limit):
    """The hypermodel and the runner of a search on cached features."""
    schema = data["train"].schema
    spec, model = towers if isinstance(towers, tuple) else (towers or towers_of(schema, space), None)
    if model is None:
        outcome = once(runner, Request(spec, training, objective), folder / TOWERS)
        if outcome.status == "FAILED":
            raise InputError(f"tune: the towers could not be trained: {outcome.reason}")
        print(f"towers: {objective[0]} {outcome.score:.4f} ({outcome.seconds:.0f} s)", flush=True)
        model = build(schema, spec)
        model.load_weights(folder / TOWERS / WEIGHTS)
    found = features_of(data, spec, model, training.class_weight)
    given = space
    if not callable(space):
        given = {name: domain for name, domain in (space or {}).items() if not _of_tower(name, schema)}
        given |= {name: dict(part) for name, part in found.with_towers(spec).towers.items()}
    ask = space_of(schema, given)
    seconds = None if time_limit is None else 60 * time_limit
    train = partial(_run_here, partial(on_features, found), seconds=seconds)
    return SpecModel(data, lambda hp: found.with_towers(ask(hp)), training), train


def _of_tower(name, schema):
    return any(name == given or name.startswith(f"{given}_") for given in schema.inputs)


def _afterwards(result, runner, check, controls, test):
    """The training after the search: checks of a search on features, its best model, the controls."""
    if check:
        compare(result, runner, check)
        tuned(result, runner)
    best = result.completed["trial"].iloc[0]
    for kind, name, request in requests(result.request(best), result.schema, controls, test):
        place = result.directory / CONTROLS / best / f"{kind}.{name}.{request.training.seed}"
        outcome = once(runner, request, place)
        came = f"failed: {outcome.reason}" if outcome.status == "FAILED" else f"{outcome.score:.4f}"
        print(f"{f'{kind} {name}'.strip()} seed {request.training.seed}: {came} ({outcome.seconds:.0f} s)", flush=True)


def _check(tuner, trials, isolation, workers, time_limit, features):
    if tuner not in TUNERS:
        raise unknown("tuner", tuner, TUNERS)
    if isolation not in ISOLATIONS:
        raise unknown("isolation", isolation, ISOLATIONS)
    check_choice(features, "features", (None, "cached"), "tune: ")
    check_whole(trials, "trials", "tune: ")
    check_whole(workers, "workers", "tune: ")
    if features and (workers > 1 or role() != "alone"):
        raise InputError(f"tune: features='cached' searches in one process, received workers={workers}")
    if isolation == "none" and (workers > 1 or role() != "alone"):
        raise InputError(f"tune: expected isolation='process' with workers={workers}, received 'none'")
    if time_limit is not None:
        check_number(time_limit, "time_limit (minutes)", "tune: ", least=0, above=True)


@contextlib.contextmanager
def _runner(data, folder, isolation, workers, time_limit):
    """A function `(request, folder, **options) -> Outcome`."""
    seconds = None if time_limit is None else 60 * time_limit
    if isolation == "none":
        yield partial(_run_here, partial(whole, data, 0), seconds=seconds)
        return
    threads = max(1, os.cpu_count() // workers) if workers > 1 else None
    with private_folder(folder, f"job-{os.environ.get('KERASTUNER_TUNER_ID', 'tuner0')}-") as job:
        forks = Forks(job, environment(threads)) if forkable() else None  # imports while the data is written
        try:
            sha256 = write_job(data, job)
            yield partial(run_in_child, job, sha256, seconds=seconds, threads=threads, forks=forks)
        finally:
            if forks:
                forks.close()


def _run_here(train, request, folder, *, seconds=None, beat=None):
    outcome = run(train, request, folder, seconds=seconds)
    keras.backend.clear_session()
    gc.collect()
    if beat:
        beat()
    return outcome
