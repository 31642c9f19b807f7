"""How fast rows become batches, and in how much memory.

    pip install torch==2.13.0 pillow
    python benchmarks/pipeline.py epochs [--pairs 5] [--data DIR]   # beside a PyTorch DataLoader
    python benchmarks/pipeline.py decode [--pairs 15]               # beside a bare tf.io.decode loop
    python benchmarks/pipeline.py million                           # a table of 1,000,000 rows
    python benchmarks/pipeline.py shards                            # memory at 20,000 and at 200,000 rows
    python benchmarks/pipeline.py corrupt                           # 1 % of the files broken in ten ways

Every side of a comparison runs in a process of its own, by turns; CPU-seconds are those of the process, its threads and
its workers. `epochs` goes through the training rows of av_digits (image and recording a row; DIR is where the archives
are unpacked) and easy-VQA (10 questions share a picture) in batches of 128, without a model: the first epoch, which
decodes, and later ones. The PyTorch side is what one writes there: a Dataset that opens the row's files by Pillow and
the module wave and looks the words up in a dict, a DataLoader with 2 workers; "arrays" is the same over decoded arrays
in memory, without workers, which is the faster way for it. Its workers decode again in every epoch.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BATCH, LATER = 128, 5  # rows; epochs after the first
SETS = ("av_digits", "easy_vqa")


def cpu():
    """CPU-seconds of this process so far and of those of its workers that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def peak():
    """Most memory that this process has held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(*arguments, through=()):
    """What this script prints as JSON in a fresh process, started by the command `through`."""
    command = [*through, sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def manifest(name, data):
    if name == "av_digits":
        return Path(data) / "av_digits" / "manifest.csv"
    from mmkeras.datasets import easy_vqa

    return easy_vqa(Path(data) / "easy_vqa")


# epochs -------------------------------------------------------------------------------------------------------------


def epoch(data):
    """Rows, CPU-seconds and seconds of one pass."""
    start, clock, rows = cpu(), time.perf_counter(), 0
    for *_, target in data:
        rows += len(target)
    return rows, cpu() - start, time.perf_counter() - clock


def schema_of(name):
    import mmkeras as mk

    if name == "av_digits":
        inputs = {"image": mk.Image(28, 28, 1), "audio": mk.Audio(8000, 1.0)}
        return mk.Schema(inputs=inputs, targets={"label": mk.Category()})
    return mk.Schema(inputs={"image": mk.Image(64, 64, 3), "question": mk.Text(16)}, targets={"answer": mk.Category()})


def ours(name, data):
    """mmkeras: first epoch, then the mean of later ones; from `batches` on, which decodes."""
    import mmkeras as mk

    records = mk.read(manifest(name, data), schema_of(name)).split("split")["train"]
    next(iter(mk.batches(records.take([0, 1]), 2)))  # TensorFlow's own start
    start, clock = cpu(), time.perf_counter()
    batches = mk.batches(records, BATCH, training=True)
    rows, _, _ = epoch(batches)
    first = rows, cpu() - start, time.perf_counter() - clock
    later = [epoch(batches) for _ in range(LATER)]
    return {"first": first, "later": [statistics.median(part) for part in zip(*later, strict=True)]}


def theirs(name, data, kept):
    """PyTorch's DataLoader: from files with 2 workers, or over decoded arrays in memory."""
    import wave

    import numpy as np
    import pandas as pd
    import torch
    from PIL import Image

    table = pd.read_csv(manifest(name, data))
    folder = manifest(name, data).parent
    table = table[table["split"] == "train"]
    target = "label" if name == "av_digits" else "answer"
    classes = {label: number for number, label in enumerate(sorted(table[target].astype(str).unique()))}
    words = {}

    def picture(path):
        with Image.open(folder / path) as opened:
            return np.asarray(opened.convert("L" if name == "av_digits" else "RGB"))

    def sound(path):
        with wave.open(str(folder / path)) as opened:
            samples = np.frombuffer(opened.readframes(opened.getnframes()), np.int16)[:8000]
        return np.pad(samples / np.float32(32768), (0, 8000 - len(samples)))

    def sentence(text):
        ids = [words.setdefault(word, len(words) + 2) for word in text.lower().replace("?", "").split()][:16]
        return np.array(ids + [0] * (16 - len(ids)), np.int32)

    second, read = ("audio", sound) if name == "av_digits" else ("question", sentence)
    columns = table["image"].tolist(), table[second].tolist(), [classes[str(label)] for label in table[target]]
    if kept:
        columns = np.stack([*map(picture, columns[0])]), np.stack([*map(read, columns[1])]), columns[2]

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return len(columns[2])

        def __getitem__(self, row):
            first, other, label = (column[row] for column in columns)
            return (first, other, label) if kept else (picture(first), read(other), label)

    epochs = []
    for _ in range(LATER if kept else 1):
        epochs.append(epoch(torch.utils.data.DataLoader(Rows(), BATCH, shuffle=True, num_workers=0 if kept else 2)))
    return {"later" if kept else "first": [statistics.median(part) for part in zip(*epochs, strict=True)]}


def epochs(pairs, data):
    print("| set | what | mmkeras, rows a CPU-second | PyTorch | ratio, median (least, most) | wall ratio |")
    print("|---|---|---|---|---|---|")
    for name in SETS:
        runs = {"ours": [], "files": [], "arrays": []}
        for number in range(pairs):
            for side in ("ours", "files", "arrays") if number % 2 else ("arrays", "files", "ours"):
                runs[side].append(alone("side", "--of", side, "--set", name, "--data", data))
        for what, mine, side, other in (
            ("first epoch / files, 2 workers", "first", "files", "first"),
            ("later epochs / files, 2 workers", "later", "files", "first"),
            ("later epochs / arrays in memory", "later", "arrays", "later"),
        ):
            a, b = [run[mine] for run in runs["ours"]], [run[other] for run in runs[side]]
            ratios = [(x[0] / x[1]) / (y[0] / y[1]) for x, y in zip(a, b, strict=True)]
            walls = statistics.median((x[0] / x[2]) / (y[0] / y[2]) for x, y in zip(a, b, strict=True))
            speeds = [statistics.median(rows / seconds for rows, seconds, _ in side) for side in (a, b)]
            print(
                f"| {name} | {what} | {speeds[0]:,.0f} | {speeds[1]:,.0f} | {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f}, {max(ratios):.2f}) | {walls:.2f} |",
                flush=True,
            )


# decode -------------------------------------------------------------------------------------------------------------


def decode(pairs, data):
    """The decoder of files beside `read_file` and `decode_image` in a bare tf.data map, on the same files."""
    import numpy as np
    import tensorflow as tf

    import mmkeras as mk
    from mmkeras.decode import in_chunks

    random = np.random.default_rng(0)
    folder = Path(tempfile.mkdtemp())
    sets = {"PNG 28 x 28, av_digits": (sorted((Path(data) / "av_digits").rglob("*.png"))[:4000], mk.Image(28, 28, 1))}
    for kind, size, encode in (
        ("PNG", 128, tf.io.encode_png),
        ("JPEG", 128, tf.io.encode_jpeg),
        ("JPEG", 512, tf.io.encode_jpeg),
    ):
        name, files = f"{kind} {size} x {size}", []
        for number in range(800 if size == 128 else 150):
            coarse = random.integers(0, 256, (8, 8, 3)).astype(np.float32)
            pixels = tf.cast(tf.clip_by_value(tf.image.resize(coarse, (size, size)), 0, 255), tf.uint8)
            files.append(folder / f"{size}_{number}.{kind}")
            files[-1].write_bytes(encode(pixels).numpy())
        sets[name] = files, mk.Image(size, size, 3)

    def bare(files, feature):
        def one(path):
            pixels = tf.io.decode_image(tf.io.read_file(path), channels=feature.channels, expand_animations=False)
            return tf.ensure_shape(pixels, feature.shape)

        rows = tf.data.Dataset.from_tensor_slices(files).map(one, num_parallel_calls=tf.data.AUTOTUNE)
        return sum(len(batch) for batch in rows.batch(1024).prefetch(1))

    def checked(files, feature):
        return sum(len(part.values) for part in in_chunks(feature, files))

    print("| files | mmkeras / bare loop, files a CPU-second: median (least, most) | wall |")
    print("|---|---|---|")
    for name, (files, feature) in sets.items():
        files = [str(file) for file in files]
        times = {bare: [], checked: []}
        for number in range(pairs + 1):
            for side in (bare, checked) if number % 2 else (checked, bare):
                start, clock = cpu(), time.perf_counter()
                assert side(files, feature) == len(files)
                times[side].append((cpu() - start, time.perf_counter() - clock))
        ratios = [[b / a for a, b in zip(x, y, strict=True)] for x, y in zip(times[checked], times[bare], strict=True)][
            1:
        ]
        used, waited = zip(*ratios, strict=True)
        spread = f"{statistics.median(used):.2f} ({min(used):.2f}, {max(used):.2f})"
        print(f"| {name} | {spread} | {statistics.median(waited):.2f} |", flush=True)


# a million rows -----------------------------------------------------------------------------------------------------


def million(rows=1_000_000):
    """Make the table in a process of its own, then read it in another."""
    folder = Path(tempfile.mkdtemp())
    alone("make", "--data", folder, "--rows", rows)
    found = alone("table", "--data", folder)
    print("| | |\n|---|---|")
    for name, value in found.items():
        print(f"| {name} | {value:,.1f} |")


def make(folder, rows):
    """A Parquet table: 1,000 pictures and 200 recordings that rows share, a sentence, a number, a word, a label."""
    import wave

    import numpy as np
    import pandas as pd
    import tensorflow as tf

    random = np.random.default_rng(0)
    for number in range(1000):
        pixels = random.integers(0, 256, (16, 16, 1), np.uint8)
        (folder / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    for number in range(200):
        with wave.open(str(folder / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(random.integers(-9999, 9999, 1600, np.int16).tobytes())
    words = np.array(["what", "is", "the", "sum", "of", "these", "two", "numbers", "please", "tell", "me", "now"])
    table = pd.DataFrame(
        {
            "image": [f"{n}.png" for n in random.integers(0, 1000, rows)],
            "audio": [f"{n}.wav" for n in random.integers(0, 200, rows)],
            "question": [" ".join(row) for row in words[random.integers(0, len(words), (rows, 6))]],
            "age": np.where(random.uniform(size=rows) < 0.1, np.nan, random.uniform(0, 90, rows).round(1)),
            "ward": random.choice(["north", "south", "east"], rows),
            "answer": random.choice([f"class {n}" for n in range(20)], rows),
        }
    )
    table.to_parquet(folder / "rows.parquet")
    table.head(100).to_parquet(folder / "some.parquet")
    return {}


def table(folder):
    import mmkeras as mk

    schema = mk.Schema(
        inputs={
            "image": mk.Image(16, 16, 1),
            "audio": mk.Audio(8000, 0.2),
            "question": mk.Text(8),
            "patient": mk.Tabular(["age"], ["ward"]),
        },
        targets={"answer": mk.Category()},
    )
    next(iter(mk.batches(mk.read(folder / "some.parquet", schema).fit(), 8)))  # TensorFlow's own start
    start_memory = peak()
    clock = time.perf_counter()
    records = mk.read(folder / "rows.parquet", schema)
    read = time.perf_counter() - clock
    clock = time.perf_counter()
    records = records.fit()
    fitted = time.perf_counter() - clock
    clock = time.perf_counter()
    batches = mk.batches(records, BATCH, training=True)
    next(iter(batches))
    first = time.perf_counter() - clock
    clock = time.perf_counter()
    count = sum(len(target) for _, target in batches)
    return {
        "rows": count,
        "read, s": read,
        "fit (vocabulary, classes, means), s": fitted,
        "first batch, s": first,
        "an epoch, s": time.perf_counter() - clock,
        "peak memory, MiB": peak(),
        "of it before the table is read, MiB": start_memory,
    }


# shards -------------------------------------------------------------------------------------------------------------


def shards():
    print("| rows | written: rows a second | read: rows a second | peak memory writing, MiB | reading, MiB |")
    print("|---|---|---|---|---|")
    peaks = []
    for rows in (20_000, 200_000):
        folder = Path(tempfile.mkdtemp())
        alone("make", "--data", folder, "--rows", rows)
        found = alone("write", "--data", folder) | alone("read", "--data", folder)
        peaks.append(found)
        figures = [found[what] for what in ("write", "read", "writing", "reading")]
        print(f"| {rows:,} | " + " | ".join(f"{figure:,.0f}" for figure in figures) + " |", flush=True)
    for what in ("writing", "reading"):
        print(f"\n{what}: {peaks[1][what] / peaks[0][what]:.3f} times the memory for 10 times the rows")


def write(folder):
    import mmkeras as mk

    inputs = {"image": mk.Image(16, 16, 1), "audio": mk.Audio(8000, 0.2), "question": mk.Text(8)}
    schema = mk.Schema(inputs=inputs, targets={"answer": mk.Category()})
    records = mk.read(folder / "rows.parquet", schema).fit()
    clock = time.perf_counter()
    written = mk.write_shards(records, folder / "shards", shards=16)
    return {"write": len(written) / (time.perf_counter() - clock), "writing": peak()}


def read(folder):
    import mmkeras as mk

    rows, clock = 0, time.perf_counter()
    for _, target in mk.batches(mk.read_shards(folder / "shards"), BATCH, training=True):
        rows += len(target)
    return {"read": rows / (time.perf_counter() - clock), "reading": peak()}


# corrupt ------------------------------------------------------------------------------------------------------------

WAYS = {
    "truncated": ("image", lambda path: path.write_bytes(path.read_bytes()[:60])),
    "empty": ("audio", lambda path: path.write_bytes(b"")),
    "wrong type": ("image", lambda path: path.write_bytes(path.with_suffix(".wav").read_bytes())),
    "wrong extension": ("audio", lambda path: path.write_text("not a recording, whatever its name says")),
    "bomb": ("image", lambda path: path.write_bytes(bomb())),
    "directory": ("audio", lambda path: (path.unlink(), path.mkdir())),
    "no permission": ("image", lambda path: path.chmod(0)),
    "NaN series": ("trace", lambda path: trace(path, 3, hole=True)),
    "wrong channels": ("trace", lambda path: trace(path, 2)),
    "bad UTF-8": ("note", None),
}


def bomb(side=30_000):
    """A PNG of 900 million black pixels in 110 KB."""
    import struct
    import zlib

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    squeeze, rows = zlib.compressobj(9), b"\0" * (side // 8 + 1)
    pixels = b"".join([*(squeeze.compress(rows) for _ in range(side)), squeeze.flush()])
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def trace(path, channels, hole=False):
    import numpy as np

    steps = np.random.default_rng(0).normal(size=(20, channels)).astype("float32")
    steps[5, 0] = np.nan if hole else 0
    np.save(path, steps)


def corrupt(rows=3000):
    """Each row has three files and a sentence; 1 % of all 12,000 values are broken, each in one of ten ways."""
    folder = Path(tempfile.mkdtemp())
    alone("break", "--data", folder, "--rows", rows)
    # root may read what nobody may, unless it gives up the right to
    less = ("setpriv", "--inh-caps=-dac_override,-dac_read_search", "--bounding-set=-dac_override,-dac_read_search")
    found = alone("train", "--data", folder, through=less if os.geteuid() == 0 else ())
    broken = json.loads((folder / "broken.json").read_text())
    named = {tuple(entry[:2]): entry[2] for entry in found["ledger"]}
    right = {(row, column) for row, column, _ in broken}
    print(f"{rows} rows, {len(broken)} broken values; trained on {found['rows']} rows, loss {found['loss']:.3f}")
    print(f"broken and not in the ledger: {len(right - set(named))}")
    print(f"in the ledger and not broken: {len(set(named) - right)}")
    print(f"rows left out and rows trained on add up: {len({row for row, *_ in broken}) + found['rows'] == rows}")
    print("\n| broken how | values | the ledger's first reason |\n|---|---|---|")
    for way in WAYS:
        places = [(row, column) for row, column, how in broken if how == way]
        print(f"| {way} | {len(places)} | {named.get(places[0], 'missing')} |")


def break_some(folder, rows):
    """Write the files and the table, break some, and write down which."""
    import wave

    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(0)
    lines = []
    for row in range(rows):
        pixels = random.integers(0, 256, (16, 16, 1), np.uint8)
        (folder / f"{row}.png").write_bytes(tf.io.encode_png(pixels).numpy())
        with wave.open(str(folder / f"{row}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(random.integers(-9999, 9999, 800, np.int16).tobytes())
        trace(folder / f"{row}.npy", 3)
        lines.append(f"{row}.png,{row}.wav,{row}.npy,a note of row {row},{'xy'[row % 2]}".encode())
    places = random.permutation(rows)[: rows * 4 // 100]
    broken = []
    for row, way in zip(places.tolist(), list(WAYS) * len(places), strict=False):
        column, hurt = WAYS[way]
        if hurt is None:
            lines[row] = lines[row].replace(b"a note", b"a n\xf6te")
        else:
            hurt(folder / f"{row}.{ {'image': 'png', 'audio': 'wav', 'trace': 'npy'}[column] }")
        broken.append((row, column, way))
    (folder / "rows.csv").write_bytes(b"\n".join([b"image,audio,trace,note,answer", *lines]))
    (folder / "broken.json").write_text(json.dumps(broken))
    return {}


def train(folder):
    import warnings

    import mmkeras as mk

    warnings.simplefilter("ignore")
    inputs = {"image": mk.Image(16, 16, 1), "audio": mk.Audio(8000, 0.1), "trace": mk.Series(20, 3), "note": mk.Text(6)}
    schema = mk.Schema(inputs=inputs, targets={"answer": mk.Category()})
    records = mk.read(folder / "rows.csv", schema, on_bad="drop").fit()
    batches = mk.batches(records, BATCH, training=True)
    model = mk.build(records.schema, width=16)
    model.compile("adam", **mk.compile_args(records.schema))
    history = model.fit(batches, epochs=2, verbose=0, shuffle=False)
    rows = sum(len(target) for _, target in batches)
    ledger = records.ledger[["row", "column", "reason"]].astype({"row": object}).to_numpy().tolist()
    return {"ledger": ledger, "rows": rows, "loss": history.history["loss"][-1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what")
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--data", type=Path, default=Path.home() / ".cache" / "mmkeras")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--of")
    parser.add_argument("--set", choices=SETS)
    asked = parser.parse_args()
    shown = {
        "epochs": lambda: epochs(asked.pairs or 5, asked.data),
        "decode": lambda: decode(asked.pairs or 15, asked.data),
        "million": million,
        "shards": shards,
        "corrupt": corrupt,
    }
    parts = {  # what these start in processes of their own
        "side": lambda: (
            ours(asked.set, asked.data) if asked.of == "ours" else theirs(asked.set, asked.data, asked.of == "arrays")
        ),
        "make": lambda: make(asked.data, asked.rows),
        "table": lambda: table(asked.data),
        "write": lambda: write(asked.data),
        "read": lambda: read(asked.data),
        "break": lambda: break_some(asked.data, asked.rows),
        "train": lambda: train(asked.data),
    }
    if asked.what in shown:
        shown[asked.what]()
    elif asked.what in parts:
        print("\n" + json.dumps(parts[asked.what]()))
    else:
        parser.error(f"expected one of {', '.join(shown)}, received {asked.what!r}")


if __name__ == "__main__":
    main()
