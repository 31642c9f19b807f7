"""Every input and every truth of a table, decoded once and kept."""

import math
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mmkeras import decode
from mmkeras.decode import OK, UNREADABLE, codec_of
from mmkeras.errors import InputError, shown, warn
from mmkeras.pipeline.kept import Column, Store, fits, in_main_memory
from mmkeras.records import Records
from mmkeras.records.checks import strangers, unreadable
from mmkeras.records.ledger import settle
from mmkeras.schema import Schema
from mmkeras.targets import Target

PROGRESS = 20_000  # from so many files on, decoding shows a progress bar
CHUNK = 2**26  # bytes of truths that are encoded at a time

# Records -> (its rows whose truths, or inputs, can be read, or None for all; dict of name -> Column). It lives as long
# as the Records, so a value must not hold its own key
_Remembered = weakref.WeakKeyDictionary[Records, tuple[Records | None, dict[str, Column]]]
_TRUTHS: _Remembered = weakref.WeakKeyDictionary()
_INPUTS: _Remembered = weakref.WeakKeyDictionary()
_STRANGERS: weakref.WeakKeyDictionary[Records, list[str]] = weakref.WeakKeyDictionary()


def readable(records: Records, targets: bool = False) -> Records:
    """The rows whose inputs can all be decoded; `records.on_bad` decides about the others.

    Args:
        records: `Records` with a fitted schema.
        targets: whether to leave out the rows with a truth that cannot be read, too, as a label that is no class.

    Raises:
        InputError: a file that cannot be decoded (or a label that is no class), with table, row and column, unless
            such rows are dropped.
    """
    if not isinstance(records, Records):
        raise InputError(f"expected Records (from mk.read), received {type(records).__name__}")
    records.schema.require_fitted("decoding")
    if records not in _STRANGERS:
        _STRANGERS[records] = strangers(records)
    for said in _STRANGERS[records]:
        warn(said)
    if not targets:
        return _read(_INPUTS, records, records.schema.inputs)[0]
    labelled, truth = _read(_TRUTHS, records, records.schema.targets)
    kept, _ = _read(_INPUTS, labelled, records.schema.inputs)
    if kept not in _TRUTHS:
        _TRUTHS[kept] = None, _taken(truth, labelled, kept)
    return kept


def columns(records: Records) -> dict[str, Column]:
    """Every input of the readable rows, decoded once and remembered.

    Returns:
        dict of name -> `Column`; of inputs whose values differ in length also `<name>_length` -> their lengths, int32.
    """
    readable(records)
    return _INPUTS[records][1]


def truths(records: Records) -> dict[str, Column]:
    """Every target, read once and remembered; all truths of the records must be readable.

    Returns:
        dict of `<target><suffix>` -> `Column` for all that `target.truth` names. A missing optional target has a valid
        value; for files, zeros.
    """
    return _read(_TRUTHS, records, records.schema.targets)[1]


def write_decoded(records: Records, folder: Path) -> None:
    """Write the values of `columns` and `truths` to a folder, for another process to begin with."""
    for name, column in {**columns(records), **truths(records)}.items():
        np.save(folder / f"{name}.npy", column.values)
        np.save(folder / f"{name}.rows.npy", column.index)


def read_decoded(records: Records, folder: Path) -> None:
    """Use the values that `write_decoded` wrote for records like these, in memory as far as they fit."""
    for remembered, parts in ((_INPUTS, records.schema.inputs), (_TRUTHS, records.schema.targets)):
        found = {}
        for name in parts:
            for suffix, (_, dtype) in layout(records.schema, name).items():
                values = np.load(folder / f"{name}{suffix}.npy", mmap_mode="r")
                if fits(values.nbytes, records.memory):
                    values = in_main_memory(values)
                found[name + suffix] = Column(values, np.load(folder / f"{name}{suffix}.rows.npy"), dtype)
        remembered[records] = None, found


def stored(feature: Any) -> Any:
    """An input as it is decoded and kept: a recording in its longest duration."""
    return codec_of(feature).stored(feature)


def layout(schema: Schema, name: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """The kept arrays of an input or target: dict of suffix -> (shape of one value, dtype), for one of its files."""
    if name in schema.targets:
        return schema.targets[name].truth
    feature = stored(schema.inputs[name])
    length = {"_length": ((), "int32")} if codec_of(feature).has_length(feature) else {}
    return {"": (feature.shape, feature.dtype), **length}


def row_layout(schema: Schema, name: str) -> dict[str, tuple[tuple[int, ...], str]]:
    """The arrays of an input or target in one row: `layout`, with an axis of files if there are several."""
    views = schema.parts[name].views
    rows = () if views is None else (views,)
    return {suffix: ((*rows, *shape), dtype) for suffix, (shape, dtype) in layout(schema, name).items()}


def _read(remembered: _Remembered, records, parts):
    """The rows of which all these parts can be read, and the parts' columns of these rows."""
    if records not in remembered:
        remembered[records] = _decode_all(records, parts)
        if (kept := remembered[records][0]) is not None:
            remembered[kept] = None, remembered[records][1]
    kept, decoded = remembered[records]
    return records if kept is None else kept, decoded  # not `or`: Records without a row are False


def _decode_all(records, parts):
    decoded, bad = {}, []
    for name in parts:
        found, wrong = _decode(records, name)
        decoded |= found
        bad += wrong
    kept = settle(records, bad)
    if kept is records:
        return None, decoded
    decoded = _taken(decoded, records, kept)
    for name in parts:
        if name in records.schema.inputs and may_be_missing(parts[name]):
            missing = ~kept.filled(name)
            for suffix in layout(records.schema, name):
                decoded[name + suffix].index[missing] = len(decoded[name].values) - 1
    return kept, decoded


def may_be_missing(feature: Any) -> bool:
    """Whether there is a value of zeros for rows without the input, or for files that are not there."""
    return feature.optional or feature.views is not None


def _taken(decoded, records, kept):
    rows = records.frame.index.get_indexer(kept.frame.index)
    return {name: column.take(rows) for name, column in decoded.items()}


def _decode(records, name):
    """The columns of one input or target, and the list of its cells that cannot be read."""
    part, kinds = records.schema.parts[name], layout(records.schema, name)
    if part.files and (more := kinds.keys() - {"", "_length"}):
        raise InputError(
            f"{name!r}: expected one array of each file, and its length as '_length', as truth of a target whose cells "
            f"are files, received also {shown(min(more))}"
        )
    distinct, index = records.distinct(name)
    spare = int(name in records.schema.inputs and may_be_missing(part))  # of zeros, for missing values
    stores = {}
    for suffix, (shape, dtype) in kinds.items():
        kept_as = codec_of(part).storage_dtype(part) if name in records.schema.inputs and not suffix else dtype
        memory = records.memory if shape else math.inf  # a number a value is no more than its place in the table
        stores[suffix] = Store((len(distinct) + spare, *shape), dtype, kept_as, memory, records.cache)
    status = [np.zeros(0, np.int32)]
    for values, one_by_one in _chunks(records, name, distinct):
        for suffix, store in stores.items():
            store.append(values[suffix])
        status.append(one_by_one)
    bad = unreadable(records, name, distinct, index, np.concatenate(status))
    if spare:
        index = np.where(records.filled(name), index, len(distinct))
    return {name + suffix: Column(store.finish(), index, kinds[suffix][1]) for suffix, store in stores.items()}, bad


def _chunks(records, name, distinct) -> Iterator[tuple[Mapping[str, np.ndarray], np.ndarray]]:
    """Some values after the others: dict of suffix -> `(n, ...)`, and their status."""
    part = records.schema.parts[name]
    if name in records.schema.targets and not part.files:
        yield from _encoded(name, part, distinct)
        return
    show = len(distinct) > PROGRESS and part.files
    bar = keras.utils.Progbar(len(distinct), unit_name=f"file of {name!r}") if show else None
    for values, status, length in decode.in_chunks(stored(part), distinct, bar, records.access):
        yield {"": values, "_length": length}, status


def _encoded(name, target: Target, distinct):
    """The truths of cells that are no files, as `target.encode` reads them."""
    size = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in target.truth.values())
    step = max(1, min(CHUNK // size, 2**14))
    for start in range(0, len(distinct), step):
        cells: Any = np.asarray(distinct[start : start + step], object)
        values, good = target.encode(cells)
        values = values if isinstance(values, Mapping) else {"": values}
        found = {suffix: np.shape(value) for suffix, value in values.items()}
        expected = {suffix: (len(cells), *shape) for suffix, (shape, _) in target.truth.items()}
        if found != expected:
            raise InputError(f"{name!r}: expected encode to give {expected}, as truth says, received {shown(found)}")
        for suffix, (_, dtype) in target.truth.items():
            _check_truth(f"{name + suffix!r}", np.asarray(values[suffix]), dtype, np.asarray(good, bool))
        yield values, np.where(good, OK, UNREADABLE)


def _check_truth(name, values, dtype, good):
    """Refuse truths that their dtype does not hold: fractions as whole numbers, text, NaN."""
    if not np.can_cast(values.dtype, dtype, "same_kind"):
        raise InputError(f"{name}: expected encode to give {dtype}, as truth says, received {values.dtype}")
    if values.dtype.kind == "f" and not np.isfinite(values[good]).all():
        raise InputError(f"{name}: expected encode to give finite numbers for the cells that it can read, received NaN")
    if np.dtype(dtype).kind in "iu" and values.size:
        most, least = np.iinfo(dtype).max, np.iinfo(dtype).min
        if int(values.max()) > most or int(values.min()) < least:
            raise InputError(
                f"{name}: expected encode to give {dtype}, received numbers from {values.min()} to {values.max()}"
            )
