"""`mmkeras demo`: from a table of files to a working SavedModel, on the keypad set."""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from mmkeras.bundle import ask, export
from mmkeras.datasets import keypad, keypad_ceilings
from mmkeras.disk import disk_reason
from mmkeras.errors import InputError
from mmkeras.evaluation import evaluate
from mmkeras.files import write_whole
from mmkeras.model_spec import ModelSpec
from mmkeras.records import read
from mmkeras.schema import Audio, Category, Image, Schema, Text
from mmkeras.training import Training, fit, prepare

SCHEMA = Schema(
    inputs={"image": Image(8, 8, 1), "question": Text(length=16), "audio": Audio(sampling_rate=8000, seconds=0.3)},
    targets={"answer": Category()},
)
TOWERS: dict[str, Any] = {
    "image": {"kind": "conv", "filters": 64, "depth": 2, "dropout": 0.4},
    "question": "lstm",
    "audio": {"kind": "spectrogram", "filters": 16, "dropout": 0.3},
}
FUSIONS = {"concat": {"kind": "concat", "depth": 2, "dropout": 0.1}, "attention": {"kind": "attention", "dropout": 0.1}}
AUGMENT = {"image": {"crop": 0.15}}
PEAK_RATE = {"concat": 2e-3, "attention": 1e-3}
BATCH, SUMMARY = 128, "summary.json"


def demo(out: str | os.PathLike[str] = ".", fusion: str = "concat", epochs: int = 16, seed: int = 0) -> dict[str, Any]:
    """Make the keypad set, train, evaluate, export, and predict with the export in a fresh process; print the results.

    Args:
        out: folder for `data/keypad`, `saved_models/keypad/<version>` and `summary.json`.
        fusion: "concat" or "attention".
        epochs: of training.
        seed: of the weights and of the order of the rows; the data set stays the same.

    Returns:
        dict, as in summary.json: "test_accuracy", "subsets", "bundle", "sample", "seconds".

    Raises:
        InputError: a folder that cannot be written, or that holds a summary.json or a data set that is not the demo's.
    """
    began = time.monotonic()
    out = _writable(Path(out).absolute())
    print("1. Data: a written digit, a dialled digit, and a question about both")
    manifest = keypad(out / "data" / "keypad")
    data = read(manifest, SCHEMA).split("split")
    print(f"   {manifest}\n   {data}")

    spec = ModelSpec(towers=TOWERS, fusion=FUSIONS[fusion], width=128)
    print(f"\n2. Training: conv, lstm and spectrogram towers, {fusion} fusion, softmax task, {epochs} epochs")
    training = Training(epochs, BATCH, PEAK_RATE[fusion], warm_up=2, augment=AUGMENT, seed=seed)
    model = prepare(data.schema, spec, training, len(data["train"]))
    history = fit(model, data, spec, training)

    print("\n3. Test: the model with all it has, and with every subset, the other modalities shuffled among the rows")
    evaluation = evaluate(model, data["test"], seed=seed)
    subsets = evaluation.subsets.assign(ceiling=_ceilings(manifest, evaluation.subsets))
    print(_table(subsets))

    print("\n4. Export, and predictions for three test rows in a fresh process that imports TensorFlow alone")
    bundle = export(
        model,
        data.schema,
        out / "saved_models" / "keypad",
        records=data["test"],
        evaluation=evaluation,
        spec=spec,
        history=history,
    )
    rows = data["test"].frame.sample(3, random_state=seed).to_dict("records")
    answers = ask(bundle, rows, data.schema)
    _show(rows, answers, data.schema.targets["answer"].classes)

    summary = {
        "test_accuracy": evaluation.metrics["accuracy"],
        "subsets": subsets.drop(columns="target").to_dict("records"),
        "bundle": str(bundle),
        "sample": {name: rows[0][name] for name in SCHEMA.inputs},
        "seconds": round(time.monotonic() - began, 1),
    }
    write_whole(out / SUMMARY, json.dumps(summary, indent=1) + "\n")
    print(
        f"\nTest accuracy {summary['test_accuracy']:.4f} after {summary['seconds']:.0f} s.\n"
        f"  the data        {manifest}\n"
        f"  the SavedModel  {bundle}\n"
        f"  its model card  {bundle / 'assets.extra' / 'MODEL_CARD.md'}\n"
        f"  these figures   {out / 'summary.json'}\n"
        "Next: prove and serve it,\n"
        f"  mmkeras verify {bundle.parent}\n"
        f"  mmkeras serve-config {bundle.parent} && docker compose -f serving/compose.yaml up\n"
        "or use a table of your own in the same way: README.md, notebooks/01_quickstart.ipynb."
    )
    return summary


def _writable(out: Path) -> Path:
    """The folder, if the demo may write into it and would overwrite nothing of somebody else's."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
        _check_summary(out / SUMMARY)
    except OSError as error:
        raise InputError(f"demo: cannot write to {str(out)!r}: {disk_reason(error)}") from error
    return out


def _check_summary(path: Path) -> None:
    if not path.exists():
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not {"test_accuracy", "bundle"} <= found.keys():
        raise InputError(f"demo: {str(path)!r} is there already, and it is not of a demo; give another folder")


def _ceilings(manifest, subsets):
    ceilings = keypad_ceilings(manifest, "test")
    return [ceilings[modalities] for modalities in subsets["modalities"]]


def _table(subsets):
    rows = ["   modalities                    accuracy           best that any model can reach"]
    for row in subsets.itertuples():
        spread = f"+- {row.spread:.3f}" if row.permutations else ""
        rows.append(f"   {' + '.join(row.modalities) or 'none':<28}  {row.score:.3f} {spread:<10}  {row.ceiling:.3f}")
    return "\n".join(rows)


def _show(rows, answers, classes):
    for row, label, probabilities in zip(rows, answers["label"], answers["probabilities"], strict=True):
        best = pd.Series(probabilities, classes).nlargest(3)
        best = ", ".join(f"{name} {value:.3f}" for name, value in best.items())
        print(f"   {Path(row['image']).name} + {Path(row['audio']).name} + {row['question']!r}")
        print(f"   -> {label} ({best}; truth: {row['answer']})")
