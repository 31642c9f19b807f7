"""What a served model predicts and what it costs.

    python benchmarks/serving.py equal      served predictions from raw bytes beside `predict`, on whole test splits
    python benchmarks/serving.py cost       the raw signature against its parts
    python benchmarks/serving.py hostile    mutated values: no failed batch, no neighbour changed, no number that is not
                                            finite, memory flat
    python benchmarks/serving.py clients    many at once, over REST and gRPC: no prediction lost or swapped

Models are small ones, trained for an epoch on a part of each set: their predictions have to be the same, not good. The
server of `clients` is the contract double in tests/: its speed says nothing of TensorFlow Serving's. The archives are
looked for in --data, as by repertoire.py. Figures are printed; only wrong predictions end the script, and a hostile
value that has an effect on others.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import PIL.Image
import sets
import tensorflow as tf
from cells import DATA
from pairs import in_pairs, timed
from processes import peak, resident

import mmkeras as mk
from mmkeras import decode
from mmkeras.bundle.examples import serialized
from mmkeras.demo import TOWERS
from mmkeras.serving import Client

TOLERANCE = 1e-5
BATCH = 64

SETS = {
    "keypad": (sets.keypad, mk.ModelSpec(towers=TOWERS)),
    "av_digits": (partial(sets.av_digits, image=sets.DIGIT, audio=sets.SPOKEN), mk.ModelSpec()),
    "easy_vqa": (sets.easy_vqa, mk.ModelSpec(width=64)),
}


def served(name: str, archives: Path, folder: str) -> tuple[mk.Splits, keras.Model, Path]:
    """The splits of a set, a model of it after an epoch, and its bundle."""
    read, spec = SETS[name]
    data = read(archives)[0]
    keras.utils.set_random_seed(0)
    model = mk.build(data.schema, spec)
    rows = np.random.default_rng(0).permutation(len(data["train"]))[:3000]
    model.compile("adam", **mk.compile_args(data.schema))
    model.fit(mk.batches(data["train"].take(rows), BATCH, training=True), verbose=0)
    return data, model, mk.export(model, data.schema, Path(folder) / name, records=data["test"], spec=spec)


def raw(records: mk.Records, rows: slice) -> dict[str, tf.Tensor]:
    """What a client would send for these rows: dict of name -> tensor."""
    found = {}
    for name, feature in records.schema.inputs.items():
        cells = records.values(name)[rows]
        found[name] = tf.constant([Path(cell).read_bytes() for cell in cells] if feature.files else cells.tolist())
    return found


def equal(asked: argparse.Namespace, folder: str) -> None:
    """The largest difference between the probabilities of a served model and of `predict`."""
    for name in SETS:
        data, model, bundle = served(name, asked.data, folder)
        test = data["test"]
        expected = model.predict(mk.batches(test, 256, targets=False), verbose=0)
        serve = tf.saved_model.load(str(bundle)).signatures["serving_default"]
        answers = [serve(**raw(test, slice(start, start + 256))) for start in range(0, len(test), 256)]
        found = np.concatenate([answer["probabilities"] for answer in answers])
        status = np.concatenate([answer["status"] for answer in answers])
        difference = np.abs(found - expected).max()
        print(f"{name}: {len(test)} rows, largest difference {difference:.1e}, {np.count_nonzero(status)} not readable")
        assert len(found) == len(expected)
        assert difference <= TOLERANCE
        assert not status.any()


def cost(asked: argparse.Namespace, folder: str) -> None:
    """Time of the raw signature, against decoding alone and the signature of tensors, called one after the other."""
    for name in SETS:
        data, _, bundle = served(name, asked.data, folder)
        signatures = tf.saved_model.load(str(bundle)).signatures
        bare = {name: _bare(feature) for name, feature in data.schema.inputs.items()}
        for rows in (1, 32, 256):
            given = raw(data["test"], slice(rows))
            parts = partial(_parts, signatures["tensors"], bare, given)
            whole = partial(signatures["serving_default"], **given)
            sides = [partial(timed, _thrice, side) for side in (whole, parts)]
            wall = in_pairs(sides, 40 if rows < 256 else 15, warm_up=2)[..., 1]
            low, middle, high = np.quantile(wall[0] / wall[1], [0.25, 0.5, 0.75])
            times = np.median(wall, axis=1) / 3 * 1000
            print(
                f"{name}, {rows} rows: {middle:.2f} times ({low:.2f} to {high:.2f}); "
                f"{times[0]:.2f} against {times[1]:.2f} ms"
            )


def _parts(tensors, bare, given):
    tensors(**{name: bare[name](values) for name, values in given.items()})


def _thrice(call):
    for _ in range(3):
        call()


def _bare(feature):
    """A function from raw values to tensors as somebody would write it who trusts every value."""
    if not feature.files:
        decoder = decode.decoder(feature)
        return tf.function(lambda raw: decoder(raw).values, [tf.TensorSpec([None], tf.string)], autograph=False)
    codec, kind = decode.codec_of(feature), tf.TensorSpec(feature.shape, feature.dtype)

    def one(value):
        return codec.decode_bytes(feature, value)[0]

    def every(raw):
        return tf.map_fn(one, raw, fn_output_signature=kind, parallel_iterations=16)

    return tf.function(every, [tf.TensorSpec([None], tf.string)], autograph=False)


def _mutated(random, value):
    """Bytes that somebody, or a broken line, has changed."""
    data = bytearray(tf.compat.as_bytes(value) or b"?")
    kind = random.integers(6)
    if kind == 0:
        return bytes(data[: random.integers(len(data) + 1)])
    if kind == 1:
        for _ in range(random.integers(1, 9)):
            data[random.integers(len(data))] = random.integers(256)
        return bytes(data)
    if kind == 2:  # numbers in the header: sizes, lengths, rates
        at = random.integers(min(len(data), 64))
        data[at : at + 4] = random.integers(0, 256, 4, np.uint8).tobytes()
        return bytes(data)
    if kind == 3:
        at, length = random.integers(len(data)), random.integers(1, 200)
        return bytes(data[:at] + data[at + length :])
    if kind == 4:
        at = random.integers(len(data))
        return bytes(data[:at] + random.integers(0, 256, random.integers(1, 2000), np.uint8).tobytes() + data[at:])
    return random.integers(0, 256, random.integers(2000), np.uint8).tobytes()


def _pictures():
    """Files of every format, an animation among them."""
    found = [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("GIF", {}), ("BMP", {}), ("WEBP", {})]
    random, files = np.random.default_rng(0), []
    frames = [PIL.Image.fromarray(random.integers(0, 256, (9, 7, 3), np.uint8)) for _ in range(3)]
    for kind, options in [*found, ("GIF", {"save_all": True, "append_images": frames[1:]})]:
        file = io.BytesIO()
        frames[0].save(file, kind, **options)
        files.append(file.getvalue())
    return files


def _mutated_of(files):
    """Every other value is one of these files, changed, or the beginning of one."""

    def change(random, value):
        file = files[random.integers(len(files))]
        kind = random.integers(4)
        return _mutated(random, (value, value, file)[kind]) if kind < 3 else file[: random.integers(len(file))]

    return change


def hostile(asked: argparse.Namespace, folder: str) -> None:
    """Every batch holds good rows, whose predictions must not change, among mutated ones of one modality."""
    pictures = _mutated_of(_pictures())
    data, _, bundle = served("keypad", asked.data, folder)
    signatures = tf.saved_model.load(str(bundle)).signatures
    given = {name: values.numpy() for name, values in raw(data["test"], slice(40)).items()}
    for name in given:
        change = pictures if name == "image" else _mutated
        _attack(asked.count, signatures["serving_default"], given, name, name, change)
    examples = {"inputs": np.asarray(serialized(data.schema, given), object)}
    _attack(asked.count, signatures["examples"], examples, "inputs", "tf.Example", _mutated)

    schema = mk.Schema(
        {
            "film": mk.Video(4, 16, 16),
            "views": mk.Image(16, 16, 1, columns=["front", "back"]),
            "trace": mk.Series(20, 3, means=(0, 0, 0), std=(1, 1, 1)),
            "cells": mk.Tabular(("age",), ("town",), (30.0,), (5.0,), (("Rome", "Bonn"),)),
        },
        {"kind": mk.Category(classes=["x", "y"])},
    )
    bundle = mk.export(mk.build(schema, width=16), schema, Path(folder) / "others")
    serve = tf.saved_model.load(str(bundle)).signatures["serving_default"]
    row = {name: decode.codec_of(feature).made_up(feature) for name, feature in schema.inputs.items()}
    given = {name: np.stack([np.asarray(value, object)] * 40) for name, value in row.items()}
    _attack(asked.count, serve, given, "film", "video", pictures)
    _attack(asked.count, serve, given, "views", "several files", lambda random, v: [pictures(random, f) for f in v])
    _attack(asked.count, serve, given, "trace", "series", _mutated)
    _attack(asked.count, serve, given, "cells", "cells", lambda random, cells: [_mutated(random, c) for c in cells])


def _attack(count, serve, given, name, title, change, good=8):
    """Change the input `name` in all rows but `good` ones, until `count` values have been tried."""
    random = np.random.default_rng(0)
    rows = len(given[name])
    expected = serve(**_constants(given))["probabilities"].numpy()
    counts, effects, memory = np.zeros(6, int), np.zeros(3, int), []
    while counts.sum() < count:
        values = given[name].copy()
        places = random.permutation(rows)[good:]
        for place in places:
            values[place] = change(random, values[place])
        try:
            answers = {key: value.numpy() for key, value in serve(**_constants({**given, name: values})).items()}
        except tf.errors.OpError:
            effects[0] += 1
            counts[-1] += len(places)
            continue
        others = np.setdiff1d(np.arange(rows), places)
        close = np.isclose(answers["probabilities"][others], expected[others], rtol=0, atol=TOLERANCE).all(axis=1)
        effects[1] += np.count_nonzero(~close | (answers["status"][others] != 0))
        effects[2] += sum(np.count_nonzero(~np.isfinite(v)) for v in answers.values() if v.dtype.kind == "f")
        counts += np.bincount(answers["status"][places], minlength=6)
        memory.append(resident())
    failed, changed, strange = effects
    print(
        f"{title}: {counts.sum()} mutated values, by status {counts.tolist()}; {failed} failed batches, "
        f"{changed} changed neighbours, {strange} numbers not finite; "
        f"resident memory {memory[len(memory) // 10]:.0f} MiB after a tenth, "
        f"{memory[-1]:.0f} MiB at the end, {peak():.0f} MiB at most",
        flush=True,
    )
    assert not effects.any()


def _constants(given):
    return {name: tf.constant(values.tolist() if values.dtype == object else values) for name, values in given.items()}


def clients(asked: argparse.Namespace, folder: str) -> None:
    """Threads with a client each, which ask for one to four rows at a time and know what has to come back."""
    data, model, bundle = served("keypad", asked.data, folder)
    test = data["test"]
    expected = model.predict(mk.batches(test, 256, targets=False), verbose=0)
    given = {name: [value.numpy() for value in values] for name, values in raw(test, slice(None)).items()}
    double = Path(__file__).parent.parent / "tests" / "serving_double.py"
    server = subprocess.Popen([sys.executable, double, bundle.parent], stdout=subprocess.PIPE, text=True)
    try:
        fronts = json.loads(server.stdout.readline())
        for front, target in fronts.items():
            found, failures = [], []
            # the double does not replay the warm-up requests, and first calls at the same time are all slow
            _ask_on(target, 0, given, expected, 1, found, failures)
            end = time.monotonic() + asked.seconds
            threads = [
                threading.Thread(target=_ask_on, args=(target, number, given, expected, end, found, failures))
                for number in range(asked.clients)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(
                f"{front}: {len(found)} requests of {asked.clients} clients, {sum(found)} rows, {len(failures)} wrong"
            )
            assert not failures, failures[:3]
    finally:
        server.kill()
        server.wait()


def _ask_on(target, seed, given, expected, end, found, failures):
    random = np.random.default_rng(seed)
    try:
        with Client(target, model="keypad", timeout=60) as client:
            while not found or time.monotonic() < end:
                rows = random.integers(0, len(expected), random.integers(1, 5))
                answers = client.predict({name: [values[row] for row in rows] for name, values in given.items()})
                np.testing.assert_allclose(answers["probabilities"], expected[rows], atol=TOLERANCE)
                found.append(len(rows))
    except Exception as error:  # whatever it is, it belongs into the count
        failures.append(f"client {seed}: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["equal", "cost", "hostile", "clients"])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--count", type=int, default=10_000, help="mutated values of each modality")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        {"equal": equal, "cost": cost, "hostile": hostile, "clients": clients}[asked.what](asked, folder)


if __name__ == "__main__":
    main()
