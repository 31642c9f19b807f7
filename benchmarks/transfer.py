"""What transfer, distillation and a shared space are worth: each beside the control that shows whether it helped.

    python benchmarks/transfer.py run [--only PATTERN] [--seeds 3] [--jobs 2]
    python benchmarks/transfer.py table                               # writes benchmarks/RESULTS.md, with repertoire.py

A cell is a study and a seed, written as `few_labels/0`; it runs in a process of its own, by one thread of TensorFlow,
and leaves a small JSON file in --out, benchmarks/cells, which is committed, and kept until the study's code is another:
a stopped run goes on. The studies, on av_digits where no other
set is named:

    questions    qa.csv with towers that have learned single digits, beside one head and the same heads from scratch
    few_labels   10 labelled recordings a class: taught by an image teacher over pairs without labels, or not
    students     degraded digits: a teacher that sees and hears, students that only see or only hear
    space        image and sound in one space, of pairs without labels
    heads        the same beside heads that read the space, by each alignment loss
    pictures_and_questions  easy-VQA's pictures and the questions that fit them in one space
    bodies       transformer blocks between pictures (cifar10_mini) and sentences (newsgroups20)

Recipes were chosen on validation rows. The archives are looked for as in repertoire.py.
"""

import argparse
import fnmatch
import hashlib
import inspect
import json
import os
import statistics
import time
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path

import repertoire
from repertoire import DATA, in_a_process, interval, keep, one_thread, spread

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

HERE = Path(__file__).resolve().parent
OUT = HERE / "cells" / "transfer"
LISTEN = {"audio": {"shift": 0.04, "gain": 6}}


# what the studies share ---------------------------------------------------------------------------------------------


def trained(splits, spec, options, *, seed, before=lambda model: None, stamps=None):
    """A model of the spec, trained; `before` may change it first; `stamps` receives CPU-seconds and validation scores.

    Args:
        splits: `Splits`.
        spec: `ModelSpec`.
        options: of `Training`.
        seed: of everything random.
        before: function of the model.
        stamps: list, to which (CPU-seconds of this process, validation accuracy of the first target) are added after
            each epoch; None: none, and no validation.
    """
    import keras

    from mmkeras.training import Training, fit, prepare

    training = Training(**{"warm_up": 1, "batch_size": 64, **options}, seed=seed)
    model = prepare(splits.schema, spec, training, len(splits["train"]))
    before(model)
    data, callbacks = {"train": splits["train"]}, []
    if stamps is not None:
        data["val"] = splits["val"]
        callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: stamps.append(stamp(logs)))]
    fit(model, data, spec, training, callbacks=callbacks, verbose=2)
    return model


def stamp(logs):
    return time.process_time(), logs.get("val_accuracy", logs.get("val_answer_accuracy"))


def accuracy(model, records):
    """Accuracy of the first target."""
    import mmkeras as mk

    scores = model.evaluate(mk.batches(records, 256), return_dict=True, verbose=0)
    return scores.get("accuracy", scores.get(f"{next(iter(records.schema.targets))}_accuracy"))


def digits(archives, columns, label="label", optional=False, edit=None):
    """`Splits` of av_digits with these inputs (dict of "image" or "audio" -> column) and the digit as a target."""
    import pandas as pd
    from experiments import DIGIT, SPOKEN, unpacked

    import mmkeras as mk

    kinds = {"image": DIGIT, "audio": SPOKEN}
    inputs = {name: replace(kinds[name], column=column) for name, column in columns.items()}
    target = mk.Category(classes=list("0123456789"), column=label, optional=optional)
    folder = unpacked("av_digits", archives)
    table = pd.read_csv(folder / "manifest.csv", dtype=str)
    for column in columns.values():
        table[column] = [str(folder / path) for path in table[column]]
    return mk.read(table if edit is None else edit(table), mk.Schema(inputs, {"label": target})).split("split")


def towers(*names):
    from experiments import DIGIT_TOWERS

    return {name: DIGIT_TOWERS[name] for name in names}


# studies ------------------------------------------------------------------------------------------------------------


def questions(archives, seed):
    """CPU-seconds and accuracies from scratch, and with towers that have learned single digits.

    From scratch with one head. The heads for the digits that the towers have learned before come along, and stay. What
    follows the towers is trained on what they make of all rows, run once. The control has towers that know nothing, of
    the same heads and the same number of epochs. It runs first, so that TensorFlow's own start is not on the bill of
    the two that are compared.
    """
    import pandas as pd
    from experiments import DIGIT, SPOKEN, unpacked

    import mmkeras as mk

    folder = unpacked("av_digits", archives)
    manifest = pd.read_csv(folder / "qa.csv", dtype=str)
    inputs = {"image": DIGIT, "audio": SPOKEN, "question": mk.Text(length=12)}
    for name in ("image", "audio"):
        manifest[name] = [str(folder / path) for path in manifest[name]]
    own = {f"{name}_digit": mk.Category(reads=name) for name in ("image", "audio")}
    one, several = (
        mk.read(manifest, mk.Schema(inputs, {"answer": mk.Category(), **more})).split("split") for more in ({}, own)
    )
    spec = mk.ModelSpec(towers=towers("image", "audio"), fusion={"kind": "concat", "depth": 2})
    found = {"control": behind_towers(several, spec, seed, time.process_time())}
    options = {"epochs": 12, "learning_rate": 2e-3, "augment": LISTEN}  # without a warm-up it comes to less
    found["scratch"] = course(one, spec, options, seed, time.process_time())

    start, single = time.process_time(), {}
    for name in ("image", "audio"):
        rows = manifest[manifest["split"] == "train"].drop_duplicates(name)  # what the question rows show, once each
        targets = {"digit": mk.Category(column=f"{name}_digit"), f"{name}_digit": mk.Category(reads=name)}
        schema = mk.Schema({name: inputs[name]}, targets)
        alone = mk.ModelSpec(towers=towers(name), fusion={"kind": "concat", "depth": 1})
        options = {"epochs": 10, "learning_rate": 2e-3, "augment": {name: TURNED[name]}}
        single[name] = trained(mk.read(rows, schema).split("split"), alone, options, seed=seed)
    found["pretraining"] = time.process_time() - start

    def move(model):
        for name, source in single.items():
            assert mk.transfer_weights(source, model, towers=[name])["moved"].all()
            head, learned = (one.get_layer("body").get_layer(f"{name}_digit") for one in (model, source))
            head.set_weights(learned.get_weights())

    found["pretrained"] = behind_towers(several, spec, seed, start, move)
    return found


def course(data, spec, options, seed, start):
    """CPU-seconds since `start` and validation accuracy after each epoch, and the test accuracy at the end."""
    stamps = []
    model = trained(data, spec, options, seed=seed, stamps=stamps)
    return told(stamps, start, accuracy(model, data["test"]))


def behind_towers(data, spec, seed, start, before=lambda model: None):
    """As `course`, of what follows the towers of pictures and recordings, which stand still and run once."""
    import keras

    import mmkeras as mk
    from mmkeras.training import Training, compile_for, prepare

    training = Training(epochs=8, learning_rate=3e-3, batch_size=128, seed=seed)
    model, still = prepare(data.schema, spec, training, len(data["train"])), ["image", "audio"]
    before(model)
    rest, stamps = mk.features_model(model, data.schema, still), []
    (x, y, _), val = (mk.extract_features(model, data[split], still) for split in ("train", "val"))
    compile_for(rest, data.schema, spec, training, len(data["train"]), steps_per_execution=16)
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: stamps.append(stamp(logs)))
    rest.fit(x, y, validation_data=val, batch_size=128, epochs=training.epochs, callbacks=[watch], verbose=2)
    return told(stamps, start, accuracy(model, data["test"]))


def told(stamps, start, test):
    return {"cpu": [at - start for at, _ in stamps], "val": [score for _, score in stamps], "test": test}


def few_labels(archives, seed):
    """Recordings with 10 labels a class: alone, and taught by an image teacher over the pairs."""
    import keras

    import mmkeras as mk

    def ten(table):
        """A column with the label of ten training rows of each digit, "" elsewhere."""
        training = table[table["split"] == "train"]
        kept = training.groupby("label").sample(10, random_state=seed).index
        few = table["label"].where(~table.index.isin(training.index) | table.index.isin(kept), "")
        return table.assign(few=few)

    def labelled(table):
        return ten(table)[lambda rows: rows["few"] != ""]

    seen = digits(archives, {"image": "image"})
    alone = digits(archives, {"audio": "audio"}, edit=labelled)
    pairs = digits(archives, {"image": "image", "audio": "audio"}, label="few", optional=True, edit=ten)
    one = {"kind": "concat", "depth": 1}
    see, hear = (mk.ModelSpec(towers=towers(name), fusion=one) for name in ("image", "audio"))
    picture = {"image": {"crop": 0.1, "rotate": 10}}
    teacher = trained(seen, see, {"epochs": 8, "learning_rate": 2e-3, "augment": picture}, seed=seed)
    found = {"teacher": accuracy(teacher, seen["test"])}
    by_itself = {"epochs": 150, "batch_size": 32, "augment": LISTEN}
    found["alone"] = accuracy(trained(alone, hear, by_itself, seed=seed), alone["test"])
    schema = replace_optional(alone.schema, pairs.schema)
    keras.utils.set_random_seed(seed)
    student = mk.build(schema, hear)
    taught(teacher, student, (replace_optional(seen.schema, pairs.schema), schema), pairs, LISTEN, 12, seed, 0.1)
    student.compile("adam", **mk.compile_args(alone.schema))
    found["taught"] = accuracy(student, alone["test"])
    return found


def replace_optional(schema, other):
    """The schema with the targets of another."""
    import mmkeras as mk

    return mk.Schema(schema.inputs, other.targets)


def taught(teacher, student, schemas, data, augment, epochs, seed, student_loss_weight):
    """Train a student by a teacher's answers, with the schedule of all."""
    import keras

    import mmkeras as mk

    steps = epochs * -(-len(data["train"]) // 64)
    schedule = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=1e-3, warmup_steps=steps // epochs)
    distiller = mk.distiller(teacher, student, schemas, student_loss_weight=student_loss_weight)
    distiller.compile(keras.optimizers.AdamW(schedule, weight_decay=0.01), **mk.compile_args(schemas[1]))
    rows = mk.batches(data["train"], 64, training=True, augment=augment, seed=seed)
    distiller.fit(rows, epochs=epochs, shuffle=False, verbose=2)


def students(archives, seed):
    """Degraded digits: students of one modality, with and without a teacher of both."""
    import keras
    from experiments import digits_hard

    import mmkeras as mk

    both = digits_hard(archives)[0]
    spec = mk.ModelSpec(towers=towers("image", "audio"), fusion={"kind": "concat", "depth": 2, "dropout": 0.1})
    options = {"epochs": 12, "warm_up": 2, "augment": LISTEN}
    teacher = trained(both, spec, options, seed=seed)
    found = {"teacher of both": accuracy(teacher, both["test"])}
    for name in ("image", "audio"):
        own = digits(archives, {name: f"{name}_hard"})
        alone = mk.ModelSpec(towers=towers(name), fusion={"kind": "concat", "depth": 1})
        augment = LISTEN if name == "audio" else None
        found[f"{name} alone"] = accuracy(trained(own, alone, {**options, "augment": augment}, seed=seed), own["test"])
        keras.utils.set_random_seed(seed)
        student = mk.build(own.schema, alone)
        taught(teacher, student, (both.schema, own.schema), both, augment, 12, seed, 0.5)
        student.compile("adam", **mk.compile_args(own.schema))
        found[f"{name} taught"] = accuracy(student, own["test"])
    return found


BESIDE = ("contrastive", "siglip", "mse", "kl", "adversarial", "generator", "misa")
WAYS = (("image", "audio"), ("audio", "image"))
TURNED = {"image": {"crop": 0.1, "rotate": 10}, **LISTEN}


def space(archives, seed):
    """Retrieval between written and spoken digits, of pairs without labels."""
    pairs = digits(archives, {"image": "image", "audio": "audio"})
    rows = {name: replaced(part, {}) for name, part in pairs.items()}
    return {
        kind: scored(rows, {"kind": kind}, {"epochs": 12, "augment": TURNED}, seed)
        for kind in ("contrastive", "siglip")
    }


def heads(archives, seed):
    """The same beside heads for the digit, on both and on each modality, that read the space.

    At half the epochs and a third of the rate only contrastive, siglip and mse had got anywhere.
    """
    pairs = digits(archives, {"image": "image", "audio": "audio"})
    targets = {**pairs.schema.targets, **own_labels()}
    rows, found = {name: replaced(part, targets) for name, part in pairs.items()}, {}
    options = {"epochs": 12, "learning_rate": 3e-3, "augment": TURNED}
    for kind in BESIDE:
        own = {"kind": "adversarial", "form": "generator"} if kind == "generator" else {"kind": kind}
        found[kind] = scored(rows, {**own, "through": True}, options, seed)
    return found


def pictures_and_questions(archives, seed):
    """Retrieval between pictures and the questions that fit them: right is what names a colour or form in common.

    Beside it the same model before training.
    """
    from experiments import CACHE

    import mmkeras as mk

    table = fitting(mk.datasets.easy_vqa(CACHE / "easy_vqa"))
    schema = mk.Schema({"image": mk.Image(64, 64, 3, shared=True), "question": mk.Text(length=12)}, {})
    rows = mk.read(table, schema).split("split")
    chosen = {"image": {"kind": "conv", "filters": 16, "depth": 3}, "question": "bag"}
    ways, found = (("image", "question"), ("question", "image")), {}
    for case, epochs in (("untrained", 0), ("contrastive", 12)):
        options = {"epochs": epochs, "augment": None}
        found[case] = scored(rows, {"kind": "contrastive"}, options, seed, chosen, ways, "thing")
    return found


def fitting(manifest):
    """easy-VQA's rows whose question names what the picture has ("thing"): those asked without "no" or "not" and
    answered otherwise than "no". Of "test", those pictures of which both the colour and the form are asked.
    """
    import pandas as pd

    table = pd.read_csv(manifest, dtype=str)
    things = "circle rectangle triangle black blue brown gray green red teal yellow"
    table["thing"] = table["question"].str.extract(rf"\b({things.replace(' ', '|')})\b", expand=False)
    denied = table["question"].str.contains(r"\b(?:no|not)\b") | (table["answer"] == "no")
    table = table[table["thing"].notna() & ~denied]
    both = table.groupby(["split", "image"])["thing"].transform("nunique") == 2
    return table[both | (table["split"] != "test")]


def own_labels():
    import mmkeras as mk

    kinds = {f"{name}_label": (name, "label") for name in ("image", "audio")}
    classes = list("0123456789")
    return {key: mk.Category(classes=classes, column=column, reads=name) for key, (name, column) in kinds.items()}


def replaced(records, targets):
    """The records with other targets."""
    import mmkeras as mk

    return replace(records, schema=mk.Schema(records.schema.inputs, targets))


def scored(data, align, options, seed, chosen=None, ways=WAYS, relevant="label", k=(1, 5, 10)):
    """A model with this loss, trained, and how well each modality finds the other among the test rows."""
    import keras

    import mmkeras as mk
    from mmkeras.training import Training, compile_for

    spec = mk.ModelSpec(towers=chosen or towers("image", "audio"), align={**align, "dim": 64}, fusion="concat")
    options, epochs = {**options, "epochs": max(options["epochs"], 1)}, options["epochs"]
    schema, training = data["train"].schema, Training(warm_up=1, batch_size=128, **options, seed=seed)
    keras.utils.set_random_seed(seed)
    model = mk.build(schema, spec)
    if schema.targets:
        compile_for(model, schema, spec, training, len(data["train"]))
    else:
        steps = training.epochs * -(-len(data["train"]) // 128)
        model.compile(keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(1e-3, steps), weight_decay=0.01))
    rows = mk.batches(data["train"], 128, training=True, targets=bool(schema.targets), augment=training.augment)
    model.fit(rows, epochs=epochs, shuffle=False, verbose=2)
    found, table = mk.retrieve(model, data["test"]), {}
    for by, find in ways:
        scores = found.scores(by, find, relevant, k=k)["score"]
        table[f"{by} to {find}"] = {name: float(score) for name, score in scores.items()}
    return table


def bodies(archives, seed):
    """Transformer towers on pictures and sentences: from scratch, with the other's blocks, with frozen blocks."""
    from experiments import cifar10_mini, newsgroups20

    import mmkeras as mk

    data = {"image": cifar10_mini(archives)[0], "text": newsgroups20(archives, length=96)[0]}
    kinds = {"image": {"kind": "vit", "patch": 4}, "text": {"kind": "transformer"}}
    kinds = {name: {**kind, "depth": 2, "heads": 4} for name, kind in kinds.items()}
    specs = {
        n: mk.ModelSpec(towers={n: kind}, fusion={"kind": "concat", "depth": 1}, width=64) for n, kind in kinds.items()
    }
    options = {"epochs": 6, "learning_rate": 1e-3}
    first = {name: trained(data[name], specs[name], options, seed=seed) for name in data}
    found = {f"{name}, from scratch": accuracy(model, data[name]["test"]) for name, model in first.items()}

    def blocks(model, name):
        return [layer for layer in model.get_layer(f"{name}_tower").layers if "_block" in layer.name]

    def changed(source, target, frozen):
        def before(model):
            if source:
                for old, new in zip(blocks(first[source], source), blocks(model, target), strict=True):
                    new.set_weights(old.get_weights())
            for layer in blocks(model, target) if frozen else ():
                layer.trainable = False

        return before

    for target, source in (("image", "text"), ("text", "image")):
        cases = {"the other's blocks": (source, False), "the other's blocks, frozen": (source, True)}
        for case, (given, frozen) in {**cases, "random blocks, frozen": (None, True)}.items():
            model = trained(data[target], specs[target], options, seed=seed, before=changed(given, target, frozen))
            found[f"{target}, {case}"] = accuracy(model, data[target]["test"])
    return found


STUDIES = {
    part.__name__: part for part in (questions, few_labels, students, space, heads, pictures_and_questions, bodies)
}


def recipe(name):
    """A mark of a study's code: a cell of other code is done again. What the studies share is not in it."""
    return hashlib.sha256(inspect.getsource(STUDIES[name]).encode()).hexdigest()[:12]


# all cells ----------------------------------------------------------------------------------------------------------


def done(path, name):
    """Whether a cell is there, made by the study as it is now."""
    return path.exists() and json.loads(path.read_text()).get("recipe") == recipe(name)


def run(asked):
    """Every cell that is asked for and not there yet."""
    cells = [(name, seed) for seed in range(asked.seeds) for name in STUDIES]
    cells = [(asked, *cell) for cell in cells if fnmatch.fnmatch("{}/{}".format(*cell), asked.only)]
    with ThreadPool(asked.jobs) as pool:
        pool.starmap(do, cells, chunksize=1)


def do(asked, name, seed):
    """One cell in a process of its own, unless it is there."""
    path = asked.out / f"{name}.{seed}.json"
    if done(path, name):
        return
    found, error = in_a_process(__file__, ["cell", "--only", f"{name}/{seed}", "--data", asked.data], path)
    if found:
        keep(found, path)
    print(f"{name}/{seed}", error or json.dumps(found)[:2000], flush=True)


# the tables ---------------------------------------------------------------------------------------------------------


def lines(out=OUT):
    """Markdown of what is there, for RESULTS.md."""
    cells = {name: [path for path in sorted(out.glob(f"{name}.?.json")) if done(path, name)] for name in STUDIES}
    cells = {name: [json.loads(path.read_text()) for path in paths] for name, paths in cells.items()}
    total = sum(cell["cpu"] for seeds in cells.values() for cell in seeds)
    found = [
        "\n# What transfer and a shared space are worth\n\nWritten by `python benchmarks/transfer.py run --seeds 3 && "
        f"python benchmarks/transfer.py table`, {total / 3600:.1f} CPU-hours. Test rows; mean over the seeds and, "
        "where there are several, their standard deviation. Recipes: benchmarks/transfer.py."
    ]
    for name, (title, table) in TABLES.items():
        seeds = [cell["found"] for cell in cells[name]]
        found += [f"\n## {title}\n", *(table(seeds) if seeds else ["Not run yet."])]
        found += [f"\n{NOTES[name]}"] if name in NOTES else []
    missing = [f"{name} {len(cells[name])} of 3" for name in STUDIES if len(cells[name]) < 3]
    return found + ([f"\nSeeds so far: {', '.join(missing)}."] if missing else [])


def questions_table(seeds):
    cases = {
        "scratch": "from scratch, one head, 12 epochs",
        "control": "that know nothing, run once; what follows them, 8 epochs",
        "pretrained": "pre-trained on single digits, run once; what follows them, 8 epochs",
    }
    yield "| towers | CPU-s in all | test accuracy | CPU-s to the validation accuracy from scratch, as a share |"
    yield "|---|---|---|---|"
    for case, title in cases.items():
        cpu = statistics.mean(seed[case]["cpu"][-1] for seed in seeds)
        found = [half(seed) for seed in seeds] if case == "pretrained" else []
        shares = [share for share in found if share is not None]
        shown = spread(shares) + (
            f" (reached by {len(shares)} of {len(found)} seeds)" if len(shares) < len(found) else ""
        )
        yield f"| {title} | {cpu:.0f} | {spread([seed[case]['test'] for seed in seeds])} | {shown} |"
    before = statistics.mean(s["pretraining"] for s in seeds)
    yield f"\nPre-training, {before:.0f} CPU-seconds, is counted."


def half(seed):
    """CPU-seconds, pre-training counted, until the last validation accuracy from scratch, as a share of its own.

    None: it was not reached.
    """
    scratch, pretrained = seed["scratch"], seed["pretrained"]
    good = [at for at, value in zip(pretrained["cpu"], pretrained["val"], strict=True) if value >= scratch["val"][-1]]
    return good[0] / scratch["cpu"][-1] if good else None


def plain_table(seeds):
    yield "| | test accuracy |"
    yield "|---|---|"
    for case in seeds[0]:
        yield f"| {case} | {spread([seed[case] for seed in seeds])} |"


MEASURES = ("R@1", "R@5", "R@10", "median rank", "precision@10", "mAP")


def students_table(seeds):
    yield from plain_table(seeds)
    yield "\n| student | gain by the teacher | 95 % interval over the seeds |"
    yield "|---|---|---|"
    for name in ("image", "audio"):
        gains = [seed[f"{name} taught"] - seed[f"{name} alone"] for seed in seeds]
        shown = "{:+.3f} to {:+.3f}".format(*interval(gains)) if len(gains) > 1 else "one seed"
        yield f"| {name} | {statistics.mean(gains):+.3f} | {shown} |"


def space_table(seeds):
    found = [scores for seed in seeds for case in seed.values() for scores in case.values()]
    measures = [name for name in MEASURES if all(name in scores for scores in found)]
    yield "| loss | query to found | seeds | " + " | ".join(measures) + " |"
    yield "|---|---|---|" + "---|" * len(measures)
    for case, ways in seeds[0].items():
        there = [seed[case] for seed in seeds if case in seed]
        for way in ways:
            figures = [spread([seed[way][name] for seed in there], 1 if "rank" in name else 3) for name in measures]
            yield f"| {case} | {way} | {len(there)} | " + " | ".join(figures) + " |"


TABLES = {
    "questions": ("Questions about two digits (qa.csv): towers that know single digits", questions_table),
    "few_labels": ("Recordings with 10 labels a class, taught over unlabelled pairs by an image teacher", plain_table),
    "students": ("Degraded digits: students of one modality, a teacher of both", students_table),
    "space": ("Written and spoken digits in one space, of pairs without labels: retrieval by class", space_table),
    "heads": ("The same beside heads that read the space", space_table),
    "pictures_and_questions": (
        "Pictures and the questions that fit them (easy-VQA): retrieval by the colour or form that a question names",
        space_table,
    ),
    "bodies": ("Transformer blocks from one modality to another", plain_table),
}


NOTES = {
    "space": "`siglip` begins at the paper's bias of -10; how far it has come after 12 epochs, about 500 steps, "
    "differs from seed to seed. Begun at -5 or -2 it learned less.",
    "heads": "`adversarial`, `generator` and `misa` bring the distributions of the modalities together, not the two of "
    "a row: to find one by the other, chance is about .1.",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table", "cell"])
    parser.add_argument("--only", default="*", help="cells, as study/seed with * and ?")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="cells side by side")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    if asked.what == "cell":
        name, seed = asked.only.split("/")
        one_thread()
        start = time.process_time()
        found = STUDIES[name](asked.data, int(seed))
        print("\n" + json.dumps({"recipe": recipe(name), "found": found, "cpu": time.process_time() - start}))
    elif asked.what == "run":
        run(asked)
    else:
        repertoire.table(repertoire.OUT)


if __name__ == "__main__":
    main()
