"""What a served model answers and what it costs.

    python benchmarks/serving.py equal      raw bytes against training's own answers, on whole test splits
    python benchmarks/serving.py cost       the raw signature against its parts
    python benchmarks/serving.py hostile    mutated files: no crash, no neighbour changed, memory flat
    python benchmarks/serving.py clients    many at once, over REST and gRPC: no answer lost or swapped

Models are small ones, trained for an epoch on a part of each set: their answers have to be the same, not good. The
server of `clients` is the contract double in tests/: its speed says nothing of TensorFlow Serving's. The archives are
looked for in --data, as by repertoire.py. Figures are printed and not judged, but for wrong answers, which end it.
"""

import argparse
import json
import os
import resource
import statistics
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
import tensorflow as tf
from experiments import CACHE, DIGIT, SPOKEN, unpacked
from repertoire import DATA

import mmkeras as mk
from mmkeras import decode
from mmkeras.bundle.examples import serialized
from mmkeras.decode.audio import decode_audio
from mmkeras.decode.image import decode_image
from mmkeras.demo import SCHEMA, TOWERS
from mmkeras.serving import Client

TOLERANCE = 1e-5
BATCH = 64


def keypad(_):
    return mk.read(mk.datasets.keypad(CACHE / "keypad"), SCHEMA).split("split"), mk.ModelSpec(towers=TOWERS)


def av_digits(archives):
    schema = mk.Schema({"image": DIGIT, "audio": SPOKEN}, {"label": mk.Category()})
    return mk.read(unpacked("av_digits", archives) / "manifest.csv", schema).split("split"), mk.ModelSpec()


def easy_vqa(_):
    inputs = {"image": mk.Image(64, 64, 3, shared=True), "question": mk.Text(length=12)}
    data = mk.read(mk.datasets.easy_vqa(CACHE / "easy_vqa"), mk.Schema(inputs, {"answer": mk.Category()}))
    return data.split("split"), mk.ModelSpec(width=64)


SETS = {"keypad": keypad, "av_digits": av_digits, "easy_vqa": easy_vqa}


def served(name, archives, folder):
    """The splits of a set, a model of it after an epoch, and its bundle."""
    data, spec = SETS[name](archives)
    keras.utils.set_random_seed(0)
    model = mk.build(data.schema, spec)
    rows = np.random.default_rng(0).permutation(len(data["train"]))[:3000]
    model.compile("adam", **mk.compile_args(data.schema))
    model.fit(mk.batches(data["train"].take(rows), BATCH, training=True), verbose=0)
    return data, model, mk.export(model, data.schema, Path(folder) / name, records=data["test"], spec=spec)


def raw(records, rows):
    """What a client would send for these rows: dict of name -> tensor."""
    found = {}
    for name, feature in records.schema.inputs.items():
        cells = records.values(name)[rows]
        found[name] = tf.constant([Path(cell).read_bytes() for cell in cells] if feature.files else cells.tolist())
    return found


def equal(asked, folder):
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
        print(f"{name}: {len(test)} rows, largest difference {difference:.1e}, {np.count_nonzero(status)} not answered")
        assert len(found) == len(expected)
        assert difference <= TOLERANCE
        assert not status.any()


def cost(asked, folder):
    """Time of the raw signature, against decoding alone and the signature of tensors, called one after the other."""
    for name in SETS:
        data, _, bundle = served(name, asked.data, folder)
        signatures = tf.saved_model.load(str(bundle)).signatures
        bare = {name: _bare(feature) for name, feature in data.schema.inputs.items()}
        for rows in (1, 32, 256):
            given = raw(data["test"], slice(rows))

            parts = partial(_parts, signatures["tensors"], bare, given)
            whole = partial(signatures["serving_default"], **given)
            ratios, times = _in_pairs(whole, parts, 40 if rows < 256 else 15)
            low, high = np.quantile(ratios, [0.25, 0.75])
            print(
                f"{name}, {rows} rows: {statistics.median(ratios):.2f} times ({low:.2f} to {high:.2f}); "
                f"{1e3 * times[0]:.2f} against {1e3 * times[1]:.2f} ms"
            )


def _parts(tensors, bare, given):
    tensors(**{name: bare[name](values) for name, values in given.items()})


def _bare(feature):
    """A function from raw values to tensors as somebody would write it who trusts every value."""
    if not feature.files:
        decoder = decode.decoder(feature)
        return tf.function(lambda raw: decoder(raw).values, [tf.TensorSpec([None], tf.string)], autograph=False)
    one = decode_image if isinstance(feature, mk.Image) else lambda raw, feature: decode_audio(raw, feature)[0]
    kind = tf.TensorSpec(feature.shape, feature.dtype)

    def every(raw):
        return tf.map_fn(lambda value: one(value, feature), raw, fn_output_signature=kind, parallel_iterations=16)

    return tf.function(every, [tf.TensorSpec([None], tf.string)], autograph=False)


def _in_pairs(first, second, times):
    """Ratios of the times of two functions called in turn, and the median of each."""
    for _ in range(5):
        first(), second()
    found = []
    for _ in range(times):
        stamps = [time.perf_counter()]
        for function in (first, second):
            for _ in range(3):
                function()
            stamps.append(time.perf_counter())
        found.append((stamps[1] - stamps[0], stamps[2] - stamps[1]))
    medians = [statistics.median(times) / 3 for times in zip(*found, strict=True)]
    return [a / b for a, b in found], medians


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


def hostile(asked, folder):
    """Every batch holds good rows, whose answers must not change, among mutated ones of one modality."""
    data, _, bundle = served("keypad", asked.data, folder)
    signatures = tf.saved_model.load(str(bundle)).signatures
    given = {name: values.numpy() for name, values in raw(data["test"], slice(40)).items()}
    for name in given:
        _attack(asked.count, signatures["serving_default"], given, name, name, _mutated)
    examples = {"inputs": np.asarray(serialized(data.schema, given), object)}
    _attack(asked.count, signatures["examples"], examples, "inputs", "tf.Example", _mutated)

    schema = mk.Schema(
        {
            "film": mk.Video(4, 16, 16),
            "trace": mk.Series(20, 3, means=(0, 0, 0), std=(1, 1, 1)),
            "cells": mk.Tabular(("age",), ("town",), (30.0,), (5.0,), (("Rome", "Bonn"),)),
        },
        {"kind": mk.Category(classes=["x", "y"])},
    )
    bundle = mk.export(mk.build(schema, width=16), schema, Path(folder) / "others")
    serve = tf.saved_model.load(str(bundle)).signatures["serving_default"]
    row = {name: decode.codec_of(feature).made_up(feature) for name, feature in schema.inputs.items()}
    given = {name: np.stack([np.asarray(value, _kind(value))] * 40) for name, value in row.items()}
    given["trace_length"] = np.full(40, 20, np.int32)
    _attack(asked.count, serve, given, "film", "video", _mutated)
    _attack(asked.count, serve, given, "trace", "series", _spoilt_series)
    _attack(asked.count, serve, given, "trace_length", "series' lengths", lambda random, _: random.integers(-50, 90))
    _attack(asked.count, serve, given, "cells", "cells", lambda random, cells: [_mutated(random, c) for c in cells])


def _kind(value):
    return np.float32 if isinstance(value, np.ndarray) else object


def _spoilt_series(random, values):
    """Some of its numbers are none, or immense."""
    values = values.copy()
    values[random.integers(len(values))] = random.choice([np.nan, np.inf, -np.inf, 3e38, 1e30])
    return values


def _attack(count, serve, given, name, title, change, good=8):
    """Change the input `name` in all rows but `good` ones, until `count` values have been tried."""
    random = np.random.default_rng(0)
    rows = len(given[name])
    expected = serve(**_constants(given))["probabilities"].numpy()
    counts, memory = np.zeros(4, int), []
    while counts.sum() < count:
        values = given[name].copy()
        places = random.permutation(rows)[good:]
        for place in places:
            values[place] = change(random, values[place])
        answers = {key: value.numpy() for key, value in serve(**_constants({**given, name: values})).items()}
        others = np.setdiff1d(np.arange(rows), places)
        np.testing.assert_allclose(answers["probabilities"][others], expected[others], atol=TOLERANCE)
        assert not answers["status"][others].any()
        assert np.isfinite(answers["probabilities"]).all()
        counts += np.bincount(answers["status"][places], minlength=4)
        memory.append(_resident())
    tenth = max(len(memory) // 10, 1)
    print(
        f"{title}: {counts.sum()} mutated values, by status {counts.tolist()}; resident memory "
        f"{memory[tenth]:.0f} MB after a tenth, {memory[-1]:.0f} MB at the end, {_peak():.0f} MB at most so far",
        flush=True,
    )


def _constants(given):
    return {name: tf.constant(values.tolist() if values.dtype == object else values) for name, values in given.items()}


def _resident():
    """Megabytes of main memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def clients(asked, folder):
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


def main():
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
