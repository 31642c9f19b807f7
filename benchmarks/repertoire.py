"""What each tower and each fusion is worth: accuracy on real data, parameters and CPU-seconds.

    python benchmarks/repertoire.py run [--only PATTERN] [--seeds 3] [--jobs 2]
    python benchmarks/repertoire.py table                             # writes benchmarks/RESULTS.md

A cell is an experiment (experiments.py), a part and a seed, written as `digits_hard/gated/0`; PATTERN is a shell
pattern, as `digits_*/*/0`. Each cell is trained in a process of its own, by one thread of TensorFlow, --jobs of them
side by side. It leaves a small JSON file in --out, benchmarks/cells, which is committed. A cell that is there is kept,
so a stopped run goes on; one whose settings have changed since is trained again, a failed one with --again. With
`--seeds 3` the modality's default and the best part of each experiment (by its validation rows; of folds by their mean)
get three seeds, the others one. The archives are looked for in --data: $MMKERAS_DATA, else shared/data beside the
repository.
"""

import argparse
import fnmatch
import json
import os
import statistics
import time
from functools import partial
from itertools import pairwise
from multiprocessing.pool import ThreadPool
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pandas as pd
import results
from cells import in_a_process, keep, one_thread, options
from experiments import EXPERIMENTS, Experiment
from models import accuracy, trained
from parts import OUT, path_of, result_of, taking_part

import mmkeras as mk

# one cell -----------------------------------------------------------------------------------------------------------


def cell(experiment: Experiment, part: str, seed: int, data: Path, test: bool) -> dict:
    """Train and measure one model, of folds one for each; what goes into the cell's file.

    Args:
        experiment: `Experiment`.
        part: name of the tower or fusion.
        seed: of the weights, the order of the rows and the augmentation.
        data: folder of the archives.
        test: False: measure the validation rows alone.
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


def one(splits: mk.Splits, settings: dict, seed: int, test: bool) -> dict:
    """Accuracies, parameters and CPU-seconds an epoch of one model on one division of the rows."""
    given = settings["training"]
    options = {
        "epochs": given["epochs"],
        "batch_size": given["batch"],
        "learning_rate": given["rate"],
        "warm_up": 2,
        "weight_decay": given["decay"],
        "augment": given.get("augment"),
        "group_by": given.get("group_by"),
    }
    seconds = []
    stamp = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seconds.append(time.process_time()))
    model = trained(splits, mk.ModelSpec(**settings["model"]), options, seed=seed, callbacks=[stamp])
    epoch = statistics.median(after - before for before, after in pairwise(seconds))
    result = {"parameters": model.count_params(), "epoch": epoch, "missing": {}}
    target = next(iter(splits.schema.targets))
    for split in ("val", "test") if test else ("val",):
        if split in splits:
            result[split] = accuracy(model, splits[split])
            if settings["model"].get("modality_dropout"):
                result["missing"][split] = without_each(mk.evaluate(model, splits[split]).subsets, target)
    return result


def without_each(subsets: pd.DataFrame, target: str) -> dict[str, float]:
    """Dict of input -> score of the target where this one alone is missing."""
    subsets = subsets[(subsets["target"] == target) & (subsets["missing"].map(len) == 1)]
    return {missing[0]: score for missing, score in zip(subsets["missing"], subsets["score"], strict=True)}


# all cells ----------------------------------------------------------------------------------------------------------


def run(asked: argparse.Namespace) -> None:
    """Every cell that is asked for and not there yet: first one seed of all, then the others."""
    for seed in range(asked.seeds):
        for chosen in (False, True):  # what takes part in these is chosen by the others
            cells = [
                (name, experiment, part, seed)
                for name, experiment in EXPERIMENTS.items()
                if bool(experiment.chosen_by) == chosen
                for part in taking_part(asked.out, name, experiment, seed)
                if fnmatch.fnmatch(f"{name}/{part}/{seed}", asked.only)
            ]
            with ThreadPool(asked.jobs) as pool:
                pool.starmap(partial(do, asked), cells, chunksize=1)


def do(asked: argparse.Namespace, name: str, experiment: Experiment, part: str, seed: int) -> None:
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


def main() -> None:
    parser = options(__doc__, "experiment/part/seed", OUT)
    parser.add_argument("--again", action="store_true", help="failed cells too")
    parser.add_argument("--validate", action="store_true", help="without the test rows, to choose recipes; give --out")
    asked = parser.parse_args()
    if asked.what == "cell":
        name, part, seed = asked.only.split("/")
        found = cell(EXPERIMENTS[name], part, int(seed), asked.data, not asked.validate)
        print("\n" + json.dumps(found))
    elif asked.what == "run":
        run(asked)
    else:
        results.write(repertoire=asked.out)


if __name__ == "__main__":
    main()
