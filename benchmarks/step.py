"""Does what mmkeras builds cost more than the same model written by hand, or than at another commit?

    python benchmarks/step.py [--fusion concat|attention] [--pairs 30] [--steps 50] [--batch 128]
    python benchmarks/step.py --against CHECKOUT [--rounds 4] ...       # CHECKOUT: a folder with another mmkeras/

The model is the demo's (mmkeras/demo.py), made by `mk.build` of sub-models. By hand (by_hand.py) it is the same layers
in one flat functional model in plain Keras, as one would write it knowing the three inputs. First it is proved that
they are the same work: the same weights by name and shape, the same dropout rates and, with equal weights, outputs
equal within 1e-6; the script stops where they are not. Then each trains in blocks of `model.fit` on one tf.data set of
the same batches in memory. A block of the one and a block of the other make a pair; which comes first alternates from
pair to pair, so that whatever else the machine does falls on both.

With --against each side is a process of its own that imports mmkeras from its checkout and trains a block when it is
told to. Both must have weights of the same shapes. The losses of their first blocks are printed and should be the same.
So are the numbers of operations in the graph of a training step, which nothing else on the machine disturbs. Two
processes of the very same code differ by a percent or so for as long as they live, so the pairs are divided among
--rounds, each with processes of its own. `--against .` shows how much of it is left.

Prints a Markdown table: a training step's CPU-milliseconds (of all threads) and wall milliseconds, median of the
blocks, for both sides, and the median over the pairs of their ratio with its bootstrap 95 % interval.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from by_hand import WIDTH, by_hand, same_work
from pairs import in_pairs, timed
from report import median_interval

import mmkeras as mk
from mmkeras.demo import FUSIONS, SCHEMA, TOWERS

HERE = Path(__file__).resolve().parent
DIFFERENT_BATCHES = 8  # kept in memory and repeated


def built(schema: mk.Schema, fusion: str) -> keras.Model:
    return mk.build(schema, towers=TOWERS, fusion=FUSIONS[fusion], width=WIDTH)


def written(schema: mk.Schema, fusion: str) -> keras.Model:
    return by_hand(schema.inputs["question"].tokens, len(schema.targets["answer"].classes), fusion)


def optimizer() -> keras.optimizers.Optimizer:
    return keras.optimizers.AdamW(1e-3, weight_decay=0.01)


def training_batches(batch: int, steps: int, rows: int = 1000) -> tuple[mk.Schema, tf.data.Dataset, dict]:
    """The fitted schema; `steps` batches, a few different ones again and again, in memory; inputs of all rows."""
    with tempfile.TemporaryDirectory() as folder:
        data = mk.read(mk.datasets.keypad(folder, rows=rows), SCHEMA).split("split")
        records = data["train"]
        inputs, targets = next(iter(mk.batches(records, len(records))))
    places = np.resize(np.random.default_rng(0).permutation(len(records)), (DIFFERENT_BATCHES, batch))
    inputs = {name: value.numpy() for name, value in inputs.items()}
    stacked = ({name: value[places] for name, value in inputs.items()}, targets.numpy()[places])
    dataset = tf.data.Dataset.from_tensor_slices(stacked).repeat().take(steps).prefetch(tf.data.AUTOTUNE)
    return data.schema, dataset, inputs


def block(model: keras.Model, dataset: tf.data.Dataset) -> Callable[[], tuple[float, float]]:
    return partial(timed, model.fit, dataset, shuffle=False, verbose=0)


# beside the model by hand -------------------------------------------------------------------------------------------


def beside_by_hand(asked: argparse.Namespace) -> np.ndarray:
    keras.utils.set_random_seed(0)
    schema, dataset, inputs = training_batches(asked.batch, asked.steps)
    ours, plain = built(schema, asked.fusion), written(schema, asked.fusion)
    difference = same_work(ours, plain, inputs)
    print(f"The same work: {ours.count_params():,} parameters each, outputs differ by {difference:.1g} at most.\n")
    ours.compile(optimizer(), **mk.compile_args(schema))
    plain.compile(
        optimizer(),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    return in_pairs([block(ours, dataset), block(plain, dataset)], asked.pairs)


# beside another checkout --------------------------------------------------------------------------------------------


class Other:
    """The model of a checkout in a process of its own; called, it trains a block and returns its seconds."""

    def __init__(self, checkout: Path, asked: argparse.Namespace):
        options = ["--fusion", asked.fusion, "--steps", str(asked.steps), "--batch", str(asked.batch)]
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--side", *options],
            env={**os.environ, "PYTHONPATH": str(checkout)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.made = self.said()
        if Path(self.made["package"]).resolve().parent != checkout / "mmkeras":
            raise SystemExit(f"expected the mmkeras of {checkout}, received {self.made['package']}")

    def said(self) -> dict:
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise SystemExit(f"a side ended with code {self.process.wait()}; it says why above")

    def __call__(self) -> tuple[float, float]:
        print("block", file=self.process.stdin, flush=True)
        return tuple(self.said()["seconds"])

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def side(asked: argparse.Namespace) -> None:
    """What `Other` starts: make the model, train a first block, then one for each line of standard input."""
    keras.utils.set_random_seed(0)
    schema, dataset, _ = training_batches(asked.batch, asked.steps)
    model = built(schema, asked.fusion)
    model.compile(optimizer(), **mk.compile_args(schema))
    loss = model.fit(dataset, shuffle=False, verbose=0).history["loss"][0]
    shapes = sorted(list(weight.shape) for weight in model.weights)
    made = {"package": mk.__file__, "shapes": shapes, "loss": loss, "operations": operations(model, dataset)}
    print(json.dumps(made), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"seconds": block(model, dataset)()}), flush=True)


def operations(model: keras.Model, dataset: tf.data.Dataset) -> int:
    """How many operations the graph of a training step has."""
    step = tf.function(lambda *batch: model.train_step(batch))
    return len(step.get_concrete_function(*next(iter(dataset))).graph.get_operations())


def beside_another(asked: argparse.Namespace) -> np.ndarray:
    checkouts = [HERE.parent, asked.against.resolve()]
    found = []
    for number in range(asked.rounds):
        sides = [Other(checkout, asked) for checkout in checkouts]
        ours, theirs = (each.made for each in sides)
        if ours["shapes"] != theirs["shapes"]:
            raise SystemExit(f"not the same weights: {ours['shapes']} and {theirs['shapes']}")
        if number == 0:
            print("Weights of the same shapes.")
            print(f"Loss of the first block: {ours['loss']:.6f} and {theirs['loss']:.6f}.")
            print(f"Operations of a training step's graph: {ours['operations']:,} and {theirs['operations']:,}.")
        found.append(in_pairs(sides, -(-asked.pairs // asked.rounds)))
        for each in sides:
            each.end()
    shown = ", ".join(f"{np.median(part[0, :, 0] / part[1, :, 0]):.3f}" for part in found)
    print(f"CPU ratio by rounds: {shown}.\n")
    return np.concatenate(found, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--steps", type=int, default=50, help="training steps in a block")
    parser.add_argument("--fusion", choices=["concat", "attention"], default="concat")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--against", type=Path, help="another checkout, instead of the model by hand")
    parser.add_argument("--rounds", type=int, default=4, help="processes of each side, one after the other")
    parser.add_argument("--side", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        return side(asked)

    seconds = beside_another(asked) if asked.against else beside_by_hand(asked)
    other = f"at {asked.against}" if asked.against else "by hand"
    print(f"{asked.fusion} fusion, batch {asked.batch}: {seconds.shape[1]} pairs of blocks of {asked.steps} steps\n")
    print(f"| a training step | built by mmkeras, ms | {other}, ms | ratio | 95 % interval |")
    print("|---|---|---|---|---|")
    for number, name in enumerate(("CPU", "wall")):
        each = np.median(seconds[..., number], axis=1) / asked.steps * 1000
        ratios = seconds[0, :, number] / seconds[1, :, number]
        low, high = median_interval(ratios)
        print(f"| {name} | {each[0]:.2f} | {each[1]:.2f} | {np.median(ratios):.3f} | {low:.3f} to {high:.3f} |")


if __name__ == "__main__":
    main()
