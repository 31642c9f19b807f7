"""Exported models of every kind of input: raw values give the answers of training, and may be missing."""

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras.files import npy_bytes

Pillow = pytest.importorskip("PIL.Image")
ROWS = 6
INPUTS = {
    "photo": mk.Image(6, 6, 3, fit="pad", optional=True),
    "sound": mk.Audio(8000, 0.05, longest=0.1, trim=0.01, optional=True),
    "note": mk.Text(4, optional=True),
    "trace": mk.Series(10, 2, optional=True),
    "size": mk.Tabular(["height", "weight"], ["coat"], optional=True),
    "film": mk.Video(3, 6, 6, 1, fit="crop", optional=True),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Records of six rows, row n without the n-th input but for the last; the model; the bundle."""
    folder, random, rows = tmp_path_factory.mktemp("all"), np.random.default_rng(0), []
    for row in range(ROWS):
        Pillow.fromarray(random.integers(0, 256, (5 + row, 9, 3), np.uint8)).save(folder / f"{row}.png")
        frames = [Pillow.fromarray(random.integers(0, 256, (8, 7), np.uint8)) for _ in range(row + 1)]
        frames[0].save(folder / f"{row}.gif", save_all=True, append_images=frames[1:])
        np.save(folder / f"{row}.npy", random.normal(size=(3 + 2 * row, 2)).astype("float32"))
        with wave.open(str(folder / f"{row}.wav"), "wb") as file:
            file.setparams((1, 2, 8000 if row % 2 else 11025, 0, "NONE", ""))
            file.writeframes(random.integers(-9999, 9999, 300 + 200 * row, np.int16).tobytes())
        cells = {
            name: f"{row}.{kind}"
            for name, kind in zip(("photo", "sound", "trace", "film"), ("png", "wav", "npy", "gif"), strict=True)
        }
        cells |= {"note": f"note of row {row}", "height": row, "weight": "" if row % 2 else 2.5, "coat": "ab"[row % 2]}
        for column in {4: ("height", "weight", "coat")}.get(row, [list(INPUTS)[row]] if row < 5 else []):
            cells[column] = ""
        rows.append({**cells, "kind": "xy"[row % 2]})
    pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False)
    records = mk.read(folder / "rows.csv", mk.Schema(INPUTS, {"kind": mk.Category()})).fit()
    model = mk.build(records.schema, width=8)
    return records, model, mk.export(model, records.schema, folder / "bundle")


def raw(records):
    """What a client sends for these records."""
    sent = {}
    for name, feature in records.schema.inputs.items():
        cells = records.values(name)
        if feature.files:
            sent[name] = [Path(cell).read_bytes() if cell else b"" for cell in cells]
        else:
            sent[name] = cells.tolist()
    return {name: tf.constant(value) for name, value in sent.items()}


def test_raw_values_give_the_answers_of_training(exported):
    records, model, path = exported
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    answers = serve(**raw(records))
    expected = model.predict(mk.batches(records, ROWS, targets=False), verbose=0)
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
    assert answers["status"].numpy().tolist() == [0] * ROWS
    assert all(answers[f"{name}_status"].numpy().tolist() == [0] * ROWS for name in INPUTS)


def test_tensors_take_what_the_model_takes(exported):
    records, model, path = exported
    (inputs,) = mk.batches(records, ROWS, targets=False)
    answers = tf.saved_model.load(str(path)).signatures["tensors"](**inputs)
    np.testing.assert_allclose(answers["probabilities"], model.predict(inputs, verbose=0), atol=1e-6)
    assert [bool(inputs[f"{name}_present"][row]) for row, name in enumerate(INPUTS) if row < 5] == [False] * 5


def test_no_custom_ops_are_needed(exported):
    """A process that imports TensorFlow alone answers, although recordings are trimmed by tensorflow-io."""
    _, _, path = exported
    assert "tensorflow_io" in sys.modules
    code = (
        "import sys, tensorflow as tf; s = tf.saved_model.load(sys.argv[1]).signatures['serving_default']; "
        "i = {k: tf.zeros([2, *(n or 1 for n in v.shape[1:])], v.dtype) if v.dtype != tf.string else "
        "tf.fill([2, *v.shape[1:]], '') for k, v in s.structured_input_signature[1].items()}; "
        "print(s(**i)['status'].numpy().tolist(), 'tensorflow_io' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[-2] == "[0, 0] False"


@pytest.mark.parametrize("name", list(INPUTS))
def test_an_unreadable_value_costs_its_own_row(exported, name):
    records, _, path = exported
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    sent = {key: value.numpy() for key, value in raw(records).items()}
    whole = serve(**{key: tf.constant(value) for key, value in sent.items()})
    if name == "size":
        sent[name][5, 0] = b"heavy"
    else:
        sent[name][5] = b"\xff\xfe nothing of the kind"
    answers = serve(**{key: tf.constant(value) for key, value in sent.items()})
    assert answers["status"].numpy().tolist() == [0, 0, 0, 0, 0, 1]
    assert answers[f"{name}_status"].numpy().tolist() == [0, 0, 0, 0, 0, 1]
    assert answers["label"].numpy()[5] == b""
    assert np.isfinite(answers["probabilities"]).all()
    np.testing.assert_allclose(answers["probabilities"][:5], whole["probabilities"][:5], atol=1e-6)


def test_series_that_cannot_be(exported):
    _, _, path = exported
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    trace = np.ones((4, 2), "float32")
    given = [trace, trace[:0], np.ones((4, 3)), np.ones(4), trace * np.nan, np.full((4, 2), 1e300), np.ones((99, 2))]
    cells = {"size": [["", "", ""]] * 7} | {name: [""] * 7 for name in INPUTS if name not in ("size", "trace")}
    answers = serve(
        **{name: tf.constant(value) for name, value in {**cells, "trace": list(map(npy_bytes, given))}.items()}
    )
    assert answers["trace_status"].numpy().tolist() == [0, 1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("rows", [0, 1])
def test_no_row_and_one_row(exported, rows):
    records, _, path = exported
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    answers = serve(**{key: value[:rows] for key, value in raw(records).items()})
    assert answers["probabilities"].shape == (rows, 2)
