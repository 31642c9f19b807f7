"""What each tower and each fusion is worth: accuracy on real data, parameters and CPU-seconds.

    python benchmarks/repertoire.py run [--only PATTERN] [--seeds 3] [--jobs 2]
    python benchmarks/repertoire.py table                             # writes benchmarks/RESULTS.md

A cell is an experiment (experiments.py), a part and a seed, written as `digits_hard/gated/0`; PATTERN is of the shell's
kind, as `digits_*/*/0`. Each cell is trained in a process of its own, by one thread of TensorFlow, --jobs of them side
by side, and leaves a small JSON file in --out, benchmarks/cells, which is committed. What is there is kept, so a
stopped run goes on; a cell whose settings were changed since is done again, a failed one with --again. With `--seeds 3`
the modality's default and the best part of each experiment (by its validation rows; of folds by their mean) get three
seeds, the others one. The archives are looked for in --data: $MMKERAS_DATA, else shared/data beside the repository.
"""

import argparse
import fnmatch
import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from multiprocessing.pool import ThreadPool
from pathlib import Path

import scipy.stats

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

HERE = Path(__file__).resolve().parent
DATA = os.environ.get("MMKERAS_DATA") or HERE.parent.parent / "shared" / "data"
OUT = HERE / "cells" / "repertoire"


def catalogue():
    """Dict of name -> `Experiment`."""
    from experiments import EXPERIMENTS

    return EXPERIMENTS


def parts_of(experiment, out):
    """The parts that take part in an experiment, the default first."""
    from mmkeras import schema, towers
    from mmkeras.fusion import FUSIONS

    if experiment.varies == "inputs":
        return ["all", *(f"without_{name}" for name in experiment.towers)]
    if experiment.varies == "fusion":
        return two_best([*FUSIONS], experiment.chosen_by, out) if experiment.chosen_by else [*FUSIONS]
    kinds = {"image": schema.Image, "audio": schema.Audio, "text": schema.Text, "series": schema.Series}
    kind = kinds[experiment.varies]
    reading = [part for part, build in towers.TOWERS.items() if kind in (towers.reads(build) or ())]
    return sorted(reading, key=lambda part: part != towers.DEFAULTS[kind])


def two_best(parts, names, out):
    """The default and the two parts of the best mean validation accuracy over these experiments, seed 0."""
    found = {part: [result_of(out, name, part, 0) for name in names] for part in parts}
    means = {
        part: statistics.mean(each.get("val", 0) for each in results)
        for part, results in found.items()
        if part != parts[0] and all(results)
    }
    return [parts[0], *sorted(means, key=means.get, reverse=True)[:2]]


# one cell -----------------------------------------------------------------------------------------------------------


def cell(experiment, part, seed, data, test):
    """Train and measure one model, of folds one for each; what goes into the cell's file.

    Args:
        experiment: `Experiment`.
        part: name of the tower or fusion.
        seed: of the weights, the order of the rows and the augmentation.
        data: folder of the archives.
        test: False: look at the validation rows alone.
    """
    one_thread()
    settings, clock = experiment.settings(part), time.perf_counter()
    read = experiment.data if test else experiment.choosing or experiment.data
    models = [one(splits, settings, seed, test) for splits in read(data, **settings["data"])]
    scores = {split: [model[split] for model in models if split in model] for split in ("val", "test")}
    return {
        "settings": settings,
        **{split: statistics.mean(values) for split, values in scores.items() if values},
        "folds": scores["test"],
        "missing": models[0]["missing"],
        "parameters": models[0]["parameters"],
        "epoch": statistics.median(model["epoch"] for model in models),
        "wall": time.perf_counter() - clock,
        "cpu": time.process_time(),
    }


def one(splits, settings, seed, test):
    """Accuracies, parameters and CPU-seconds an epoch of one model on one division of the rows."""
    import keras

    import mmkeras as mk
    from mmkeras.training import Training, fit, prepare

    given = settings["training"]
    training = Training(
        given["epochs"],
        given["batch"],
        given["rate"],
        warm_up=2,
        weight_decay=given["decay"],
        augment=given.get("augment"),
        group_by=given.get("group_by"),
        seed=seed,
    )
    spec = mk.ModelSpec(**settings["model"])
    model = prepare(splits.schema, spec, training, len(splits["train"]))
    seconds = [time.process_time()]
    stamp = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seconds.append(time.process_time()))
    fit(model, {"train": splits["train"]}, spec, training, callbacks=[stamp], verbose=2)
    epoch = statistics.median(after - before for before, after in pairwise(seconds[1:]))
    result = {"parameters": model.count_params(), "epoch": epoch, "missing": {}}
    target = next(iter(splits.schema.targets))
    for split in ("val", "test") if test else ("val",):
        if split in splits:
            scores = model.evaluate(mk.batches(splits[split], 256), return_dict=True, verbose=0)
            result[split] = scores["accuracy" if len(splits.schema.targets) == 1 else f"{target}_accuracy"]
            if settings["model"].get("modality_dropout"):
                result["missing"][split] = without_each(mk.evaluate(model, splits[split]).subsets, target)
    return result


def without_each(subsets, target):
    """Dict of input -> score of the target where this one alone is missing."""
    subsets = subsets[(subsets["target"] == target) & (subsets["missing"].map(len) == 1)]
    return {missing[0]: score for missing, score in zip(subsets["missing"], subsets["score"], strict=True)}


# all cells ----------------------------------------------------------------------------------------------------------


def path_of(out, name, part, seed):
    return out / name / f"{part}.{seed}.json"


def result_of(out, name, part, seed):
    """What a cell's file holds; None: not done."""
    path = path_of(out, name, part, seed)
    return json.loads(path.read_text()) if path.exists() else None


def run(asked):
    """Every cell that is asked for and not there yet: first one seed of all, then the others."""
    for seed in range(asked.seeds):
        for chosen in (False, True):  # what takes part in these is chosen by the others
            cells = [
                (name, experiment, part, seed)
                for name, experiment in catalogue().items()
                if bool(experiment.chosen_by) == chosen
                for part in taking_part(asked.out, name, experiment, seed)
                if fnmatch.fnmatch(f"{name}/{part}/{seed}", asked.only)
            ]
            with ThreadPool(asked.jobs) as pool:
                pool.starmap(partial(do, asked), cells, chunksize=1)


def taking_part(out, name, experiment, seed):
    """All parts with seed 0; the default and the best with others."""
    parts = parts_of(experiment, out)
    return parts if seed == 0 else sorted({parts[0], best(out, name, parts)})


def do(asked, name, experiment, part, seed):
    """One cell in a process of its own, unless it is there."""
    path, found = path_of(asked.out, name, part, seed), result_of(asked.out, name, part, seed)
    settings = json.loads(json.dumps(experiment.settings(part)))
    if found and found["settings"] == settings and not (asked.again and "failed" in found):
        return
    cell = ["cell", "--only", f"{name}/{part}/{seed}", "--data", asked.data]
    found, error = in_a_process(__file__, [*cell, *(["--validate"] if asked.validate else [])], path)
    found = found or {"settings": settings, "failed": error}
    keep(found, path)
    shown = {key: round(found[key], 4) for key in ("val", "test", "epoch", "cpu", "wall") if key in found}
    print(f"{name}/{part}/{seed}", found.get("failed", shown), flush=True)


def in_a_process(script, arguments, path):
    """What a script prints as its last JSON line, and None; or None and why it failed. All it says is in a log.

    Args:
        script: path of it.
        arguments: of its command line.
        path: of the cell; the log lies beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    log = path.with_suffix(".log")
    with open(log, "w") as file:
        command = [sys.executable, script, *map(str, arguments)]
        done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT)
    lines = log.read_text(errors="replace").strip().splitlines() or [""]
    if done.returncode:
        return None, lines[-1][:500] or f"exit {done.returncode}"
    return json.loads([line for line in lines if line.startswith("{")][-1]), None


def keep(found, path):
    """Write a cell's file, whole or not at all."""
    path.with_suffix(".part").write_text(json.dumps(found, indent=1) + "\n")
    path.with_suffix(".part").replace(path)


def one_thread():
    """TensorFlow's operations by one thread: cells side by side, and no processor time spent on waiting."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def best(out, name, parts):
    """The part with the best validation rows with seed 0, of folds the best mean; the default if none is done."""
    found = {part: result_of(out, name, part, 0) for part in parts}
    scores = {part: each.get("val", each.get("test", 0)) for part, each in found.items() if each}
    return max(scores, key=scores.get) if scores else parts[0]


# the table ----------------------------------------------------------------------------------------------------------


def table(out):
    """RESULTS.md, from the cells that are there, and from those of transfer.py."""
    import transfer

    lines, total = [], 0.0
    for name, experiment in catalogue().items():
        parts = parts_of(experiment, out)
        cells = {part: [result_of(out, name, part, seed) for seed in range(10)] for part in parts}
        cells = {part: [each for each in seeds if each] for part, seeds in cells.items() if any(seeds)}
        total += sum(each.get("cpu", 0) for seeds in cells.values() for each in seeds)
        lines += [f"\n## {experiment.title}\n"]
        lines += [f"Known: {experiment.figure}.\n"] if experiment.figure else []
        kind = {"fusion": "fusion", "inputs": "inputs"}.get(experiment.varies, "tower")
        if cells:
            lines += [f"| {kind} | test accuracy | validation | seeds | parameters | CPU-s an epoch | epochs |"]
            lines += ["|---|---|---|---|---|---|---|"]
            lines += [row(part, seeds, part == parts[0]) for part, seeds in sorted(cells.items(), key=rank)]
        lines += own_recipes(experiment, cells)
        if missing := [part for part in parts if part not in cells]:
            lines += [f"\nNot run yet: {', '.join(missing)}."]
        if experiment.varies == "inputs":
            lines += missing_values(cells)
    head = HEAD.format(cpu=total / 3600)
    (HERE / "RESULTS.md").write_text(head + "\n".join([*lines, *transfer.lines()]) + "\n", encoding="utf-8")
    print(HERE / "RESULTS.md")


def missing_values(cells):
    """Lines of the table that sets modality dropout beside models that never had the modality."""
    found = []
    for part, seeds in cells.items():
        left = part.removeprefix("without_")
        ours = [each["missing"]["test"] for each in cells.get("all", []) if each.get("missing", {}).get("test")]
        ours = [scores[left] for scores in ours if left in scores]
        theirs = [each["test"] for each in seeds if "test" in each]
        if left != part and ours and theirs:
            difference = statistics.mean(ours) - statistics.mean(theirs)
            found.append(f"| {left} | {spread(ours)} | {spread(theirs)} | {difference:+.3f} |")
    head = "\n| missing at test | trained with modality dropout | trained without it | difference |\n|---|---|---|---|"
    return [head, *found] if found else []


def own_recipes(experiment, cells):
    """A line that says which parts were trained otherwise than the others."""
    kinds = experiment.options, experiment.training_of, experiment.data_of
    given = {part: {key: value for kind in kinds for key, value in kind.get(part, {}).items()} for part in cells}
    own = [f"{part} {json.dumps(options)}" for part, options in given.items() if options]
    return [f"\nSettings of their own: {'; '.join(own)}."] if own else []


HEAD = """# What each tower and fusion is worth

Written by `python benchmarks/repertoire.py run --seeds 3 && python benchmarks/repertoire.py table`, {cpu:.1f} CPU-hours
in all: each model by one thread of TensorFlow, two side by side on 2 CPU cores. Recipes: benchmarks/experiments.py;
they were chosen on validation rows (of newsgroups20 and watch_imu, which have none, on held-out training rows and
folds; which part gets three seeds there, by the figures below). Accuracy is the mean over the seeds and, where there
are several, their standard deviation; CPU-seconds are the median epoch's, reading and augmentation included.
The default is in bold.
"""


def rank(entry):
    scores = [each["test"] for each in entry[1] if "test" in each]
    return -statistics.mean(scores) if scores else 1.0


def interval(values):
    """The interval of 95 % of their mean, by Student's t."""
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return statistics.mean(values) - half, statistics.mean(values) + half


def row(part, seeds, default):
    shown = f"**{part}**" if default else part
    done = [each for each in seeds if "failed" not in each]
    if not done:
        return f"| {shown} | failed: {seeds[0]['failed']} | | | | | |"
    figures = [spread([each[split] for each in done if split in each]) for split in ("test", "val")]
    if len(done[0]["folds"]) > 1:
        folds = [statistics.mean(scores) for scores in zip(*(each["folds"] for each in done), strict=True)]
        figures[0] += " (95 % by folds: {:.3f} to {:.3f})".format(*interval(folds))
    epoch = statistics.median(each["epoch"] for each in done)
    epochs = done[0]["settings"]["training"]["epochs"]
    return (
        f"| {shown} | {figures[0]} | {figures[1]} | {len(done)} | {done[0]['parameters']:,} | {epoch:.1f} | {epochs} |"
    )


def spread(values, digits=3):
    """Mean and standard deviation, as text."""
    if not values:
        return ""
    more = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{more}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run", "table", "cell"])
    parser.add_argument("--only", default="*", help="cells, as experiment/part/seed with * and ?")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="cells side by side")
    parser.add_argument("--again", action="store_true", help="failed cells too")
    parser.add_argument("--validate", action="store_true", help="without the test rows, to choose recipes; give --out")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    if asked.what == "cell":
        name, part, seed = asked.only.split("/")
        found = cell(catalogue()[name], part, int(seed), asked.data, not asked.validate)
        print("\n" + json.dumps(found))
    elif asked.what == "run":
        run(asked)
    else:
        table(asked.out)


if __name__ == "__main__":
    main()
