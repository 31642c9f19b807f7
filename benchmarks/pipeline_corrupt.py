"""Files broken in ten ways: all are in the ledger, with the reason, and the rest trains."""

import json
import os
import struct
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
from processes import alone
from small_files import write_picture, write_recording

import mmkeras as mk

BATCH = 128
SCRIPT = str(Path(__file__).with_name("pipeline.py"))

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


def bomb(side: int = 30_000) -> bytes:
    """A PNG of 900 million black pixels in 110 KB."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    squeeze, rows = zlib.compressobj(9), b"\0" * (side // 8 + 1)
    pixels = b"".join([*(squeeze.compress(rows) for _ in range(side)), squeeze.flush()])
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def trace(path: Path, channels: int, hole: bool = False) -> None:
    steps = np.random.default_rng(0).normal(size=(20, channels)).astype("float32")
    steps[5, 0] = np.nan if hole else 0
    np.save(path, steps)


def corrupt(rows: int) -> None:
    """Each row has three files and a sentence; 1 % of all values are broken, each in one of ten ways."""
    folder = Path(tempfile.mkdtemp())
    alone(SCRIPT, "break", "--data", folder, "--rows", rows)
    # root may read what nobody may, unless it gives up the right to
    less = ("setpriv", "--inh-caps=-dac_override,-dac_read_search", "--bounding-set=-dac_override,-dac_read_search")
    found = alone(SCRIPT, "train", "--data", folder, through=less if os.geteuid() == 0 else ())
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


def break_some(folder: Path, rows: int) -> dict:
    """Write the files and the table, break some, and write down which."""
    random = np.random.default_rng(0)
    lines = []
    for row in range(rows):
        write_picture(folder / f"{row}.png", random)
        write_recording(folder / f"{row}.wav", random, 800)
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


def train(folder: Path) -> dict:
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
