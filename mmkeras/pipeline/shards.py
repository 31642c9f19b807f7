"""TFRecord shards: decoded rows in files, for sets that outgrow memory or one machine.

A folder of shards holds `shard-00000-of-00016.tfrecord` and so on, and `shards.json`, which is written last: without it
the folder is unfinished, and writing goes on where it stopped. Each record is a tf.train.Example of one row: the bytes
of its decoded values, row-major, in the schema's dtypes. TFRecord's own checksum protects each of them.
"""

import hashlib
import json
import math
import os
import re
import warnings
from dataclasses import dataclass, replace

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from mmkeras.checks import check_whole, checked_keywords, is_whole
from mmkeras.disk import check_path, disk_reason, read_json
from mmkeras.errors import InputError, shown, warn
from mmkeras.files import LOCK, one_at_a_time, remove_unfinished, write_json, write_whole
from mmkeras.pipeline.decoded import columns, readable, row_layout, truths
from mmkeras.pipeline.gather import presence
from mmkeras.pipeline.weights import class_counts, class_numbers, there
from mmkeras.records import Records
from mmkeras.records.checks import strangers
from mmkeras.records.ledger import Ledger
from mmkeras.schema import Schema

FORMAT, INDEX = 1, "shards.json"
SHARD = re.compile(r"shard-\d{5,}-of-\d{5,}\.tfrecord")


@dataclass(frozen=True)
class Shards:
    """A finished folder of shards, for `batches`.

    Attributes:
        schema: the fitted `Schema`.
        folder: where the files are.
        files: dict of file name -> dict of its rows, bytes and sha256.
        counts: dict of target whose classes can have weights -> rows of each class.
    """

    schema: Schema
    folder: str
    files: dict[str, dict]
    counts: dict[str, list[int]]

    def __len__(self) -> int:
        return sum(file["rows"] for file in self.files.values())

    def __repr__(self) -> str:
        return f"<Shards {self.folder}: {len(self)} rows in {len(self.files)} files, {', '.join(self.schema.parts)}>"


@checked_keywords
def write_shards(records: Records, folder: str | os.PathLike[str], *, shards: int, seed: int = 0) -> Shards:
    """Decode records once and write them as TFRecord files, in a random order.

    Memory does not grow with the number of rows. A file is there whole or not at all; after an interruption the same
    call goes on after the last whole file. One call at a time writes into a folder. Bad cells are treated as
    `records.on_bad` says.

    Args:
        records: `Records` with a fitted schema.
        folder: path of a folder, new, or of an unfinished or finished earlier call with the same arguments.
        shards: number of files; at least the number of workers that shall share them.
        seed: of the order.

    Returns:
        `Shards`.

    Raises:
        InputError: a folder that holds shards of other records, or into which another process writes; more shards than
            rows; a disk that is full; bad cells.
    """
    records.schema.require_fitted("write_shards")
    records.require_rows("write_shards")
    check_whole(seed, "seed", "write_shards: ", least=0)
    if not is_whole(shards) or shards > len(records):
        raise InputError(
            f"write_shards: expected shards to be a whole number from 1 to the {len(records)} rows, received "
            f"{shown(shards)}"
        )
    for said in strangers(records):
        warn(said)
    folder, made_of = check_path(folder, "write_shards: "), _made_of(records, shards, seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"shard-{number:05d}-of-{shards:05d}.tfrecord" for number in range(shards)]
        if _own(folder / INDEX, made_of) is None or (folder / LOCK).exists():
            with one_at_a_time(folder, "write_shards: "):
                remove_unfinished(folder)
                if _own(folder / INDEX, made_of) is None:
                    _check_ours(folder, paths, made_of)
                    _write(records, paths, seed, made_of)
                for path in paths:
                    _notes(path).unlink(missing_ok=True)
    except (OSError, tf.errors.OpError) as error:
        raise InputError(f"write_shards: cannot write to {str(folder)!r}: {disk_reason(error)}") from error
    return read_shards(folder)


def _check_ours(folder, paths, made_of):
    """Refuse a folder with shards of other records, or with files of these names that have no notes of ours."""
    for notes in folder.glob("shard-*-of-*.json"):
        _own(notes, made_of)
    for path in paths:
        if path.exists() and not _notes(path).exists():
            raise InputError(
                f"write_shards: {str(path)!r} is there already, and it is not known to be of write_shards; expected "
                "an empty folder"
            )


def _write(records, paths, seed, made_of):
    order = np.random.default_rng(seed).permutation(len(records))
    bar = keras.utils.Progbar(len(records), unit_name="row")
    done, rows_seen = {}, 0
    for path, rows in zip(paths, np.array_split(order, len(paths)), strict=True):
        done[path] = _finished(path, made_of) or _write_shard(records.take(rows), path, made_of)
        for entry in done[path]["bad"]:
            records.entries.add(*entry)
        rows_seen += len(rows)
        bar.update(rows_seen)
        _check_share(records, rows_seen - sum(file["rows"] for file in done.values()))
    index = {
        "made_of": made_of,
        "schema": json.loads(records.schema.to_json()),
        "counts": {
            name: np.sum([file["counts"][name] for file in done.values()], axis=0).tolist()
            for name, target in records.schema.targets.items()
            if target.class_weights
        },
        "files": {path.name: {key: file[key] for key in ("rows", "bytes", "sha256")} for path, file in done.items()},
    }
    write_json(paths[0].with_name(INDEX), index)
    if left_out := len(records) - sum(file["rows"] for file in done.values()):
        warn(f"{records.name}: {left_out} of {len(records)} rows left out; see records.ledger")


def _check_share(records, left_out):
    if left_out > records.bad_limit * len(records):
        raise InputError(
            f"{records.name}: {left_out} of {len(records)} rows are bad, more than bad_limit={records.bad_limit} "
            "allows; see records.ledger"
        )


def _write_shard(records, path, made_of):
    """Write one file whole or not at all, and before it its notes, which are returned."""
    notes = {"made_of": made_of, "rows": 0, "counts": {}, "bad": []}
    chunk = max(1, min(1024, 2**26 // row_size(records.schema)))

    def write(file):
        with tf.io.TFRecordWriter(file.name) as writer:
            for start in range(0, len(records), chunk):
                # with its own ledger and without a limit: the share of bad rows is that of the whole table
                part = replace(records.take(np.arange(start, min(start + chunk, len(records)))), entries=Ledger())
                part = replace(part, bad_limit=1.0, memory=math.inf)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    kept = readable(part, targets=True)
                for example in _examples(kept, notes):
                    writer.write(example)
                notes["bad"] += part.ledger.astype({"row": object}).to_numpy().tolist()
        notes.update(bytes=os.path.getsize(file.name), sha256=_sha256(file.name))
        write_json(_notes(path), notes)  # first: a file without notes is not ours

    write_whole(path, write)
    return notes


def row_size(schema: Schema) -> int:
    """Bytes of a row with four for each of its numbers, so that it is on the safe side."""
    return 4 * sum(math.prod(shape) for name in schema.parts for shape, _ in row_layout(schema, name).values())


def _examples(records, notes):
    """Each row as a serialised tf.train.Example; rows and classes are counted in `notes`."""
    inputs, present = columns(records), there(records)
    values = {name: column.array() for name, column in {**inputs, **truths(records)}.items()}
    for name, feature in records.schema.inputs.items():
        found = inputs[name].index != len(inputs[name].values) - 1
        values |= {key: np.asarray(value) for key, value in presence(name, feature, found).items()}
    values |= {f"{name}_present": rows.astype(np.uint8) for name, rows in present.items()}
    notes["rows"] += len(records)
    for name, count in class_counts(records.schema, class_numbers(records), present).items():
        notes["counts"][name] = (np.array(notes["counts"].get(name, 0)) + count).tolist()
    for row in range(len(records)):
        feature = {
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value[row].tobytes()]))
            for name, value in values.items()
        }
        yield tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


def _made_of(records, shards, seed):
    """A hash of the shards' sources: the schema, the rows' cells and their numbers, the arguments."""
    names = [column for name in records.schema.parts for column in records.schema.columns(name)]
    cells = pd.util.hash_pandas_object(records.frame[list(dict.fromkeys(names))]).to_numpy()
    about = json.dumps([FORMAT, records.schema.to_json(), records.on_bad, int(shards), int(seed)])
    return hashlib.sha256(about.encode() + cells.tobytes()).hexdigest()


def _notes(path):
    return path.with_suffix(".json")


def _own(path, made_of):
    """The content of an index or of a shard's notes, or None where there is none; that of other records is refused."""
    if not path.exists():
        return None
    content = read_json(path, "write_shards: ")
    if not isinstance(content, dict) or content.get("made_of") != made_of:
        raise InputError(
            f"write_shards: {str(path.parent)!r} holds shards of other records, or of another number, seed or schema; "
            "expected an empty folder, or the same arguments to go on"
        )
    return content


def _finished(path, made_of):
    """The notes of a shard that is whole, or None."""
    notes = _own(_notes(path), made_of)
    if notes is None or not path.exists():
        return None
    return notes if _sha256(path) == notes["sha256"] else None


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@checked_keywords
def read_shards(folder: str | os.PathLike[str], *, check: bool = False) -> Shards:
    """Open a folder that `write_shards` has finished.

    Args:
        folder: its path.
        check: whether to read all files and compare their SHA-256 sums, too.

    Returns:
        `Shards`.

    Raises:
        InputError: no such folder, an unfinished one, a file that is missing or not the one that was written.
    """
    folder = check_path(folder, "read_shards: ")
    if not (folder / INDEX).exists():
        what = "an unfinished folder: call write_shards again" if folder.is_dir() else "none"
        raise InputError(f"read_shards: expected a folder with {INDEX}, found {what}: {str(folder)!r}")
    index, schema = _index(folder / INDEX)
    for name, file in index["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != file["bytes"]:
            found = f"{path.stat().st_size} bytes" if path.is_file() else "none"
            raise InputError(f"read_shards: {str(path)!r}: expected a file of {file['bytes']} bytes, found {found}")
        if check and _sha256(path) != file["sha256"]:
            raise InputError(f"read_shards: {str(path)!r}: its SHA-256 sum is not the one that was written")
    return Shards(schema, str(folder), index["files"], index["counts"])


def _index(path):
    """The content of an index, and the schema in it; it may come from somebody else, and names files of its folder."""
    index, where = read_json(path, "read_shards: "), f"read_shards: {str(path)!r}: "
    try:
        schema = Schema.from_json(json.dumps(index["schema"]))
        good = all(
            SHARD.fullmatch(name)
            and is_whole(file["rows"], 0)
            and is_whole(file["bytes"], 0)
            and len(file["sha256"]) == 64
            for name, file in index["files"].items()
        )
        counts = {name: sum(count) for name, count in index["counts"].items()}
    except InputError as error:
        raise InputError(f"{where}{error}") from error
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{where}expected the index of write_shards, received {shown(index)} ({error!r})") from error
    if not good or not set(counts) <= set(schema.targets):
        raise InputError(f"{where}expected the index of write_shards, received {shown(index['files'])}")
    return index, schema
