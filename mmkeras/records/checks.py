"""Which cells of a table are bad."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from mmkeras import decode
from mmkeras.checks import of_a_date
from mmkeras.decode import codec_of
from mmkeras.decode.files import local_path
from mmkeras.records.ledger import Bad
from mmkeras.records.manifest import join

if TYPE_CHECKING:
    from mmkeras.records import Records


OTHER_ENCODING = '; mk.read(..., encoding="cp1252") reads text of another encoding'


def cells_and_paths(records: "Records", names: Iterable[str], folder: str) -> list[Bad]:
    """The bad cells of these inputs and targets by their content: empty, not a number, no such file.

    The paths of files become absolute in `records.frame`.

    Args:
        records: `Records`.
        names: of inputs and targets.
        folder: relative paths start from it.

    Returns:
        list of `Bad`.
    """
    bad = [cell for name in names for cell in _bad_cells(records, name)]
    for name in names:
        if records.schema.parts[name].files:
            bad += _find_files(records, name, folder)
    return bad


def _bad_cells(records, name):
    part, values = records.schema.parts[name], records.values(name)
    bad = [
        Bad(row, name, _shown(cells[row]), "expected UTF-8 text, found other bytes", column, OTHER_ENCODING)
        for cells, column in zip(values.reshape(len(values), -1).T, records.schema.columns(name), strict=True)
        for row in _not_utf8(cells)
    ]
    if name in records.schema.inputs:
        bad += _wrong_cells(records, name, values)
    elif part.checked_early:
        _, good = part.encode(values)
        wrong = np.flatnonzero(~good & (values != ""))
        expected = f"expected {part.expected}" + (of_a_date(values[wrong[0]]) if len(wrong) else "")
        bad += [Bad(int(row), name, values[row], expected) for row in wrong]
    if part.optional:
        return bad
    empty = np.flatnonzero(~records.there(name))
    return bad + [Bad(int(row), name, "", "expected a value, found nothing") for row in empty]


def _not_utf8(cells):
    """The positions of cells with bytes that are not UTF-8, as `load` keeps them, or with NUL, which is in no text."""
    text = "".join(cells)
    try:
        text.encode()
        if "\0" not in text:
            return []
    except UnicodeEncodeError:
        pass
    return [row for row, cell in enumerate(cells) if _shown(cell) != cell or "\0" in cell]


def _shown(cell):
    return cell.encode("utf-8", "backslashreplace").decode()


def _wrong_cells(records, name, values):
    """The cells of an input that cannot be right; cells that are not UTF-8 have been found already."""
    feature, columns = records.schema.inputs[name], records.schema.columns(name)
    if not feature.several:
        return []
    values = values.copy()
    for cells in values.T:
        cells[_not_utf8(cells)] = ""
    return [
        Bad(int(row), name, values[row, at], expected, columns[at])
        for at, (wrong, expected) in codec_of(feature).wrong_cells(feature, values).items()
        for row in np.flatnonzero(wrong)
    ]


def _find_files(records, name, folder):
    """Make the paths of one input or target absolute; the bad ones. Every distinct file is looked up once."""
    codec, columns = codec_of(records.schema.parts[name]), records.schema.columns(name)
    distinct, number = records.distinct(name)
    reasons = [_why_not(records.access, codec, join(folder, value)) if value else None for value in distinct]
    paths = [local_path(join(folder, value)) if value else "" for value in distinct]
    for column, numbers in zip(columns, _by_column(number).T, strict=True):
        records.frame[column] = np.array(paths, dtype=object)[numbers]
    bad = {value: (distinct[value], f"{reason} in {folder}") for value, reason in enumerate(reasons) if reason}
    return _of_cells(records, name, number, bad)


def _why_not(access, codec, path):
    """Why what is at a path or URL is not read, or None."""
    return access.refusal(codec, path) or codec.path_reason(local_path(path))


def _by_column(number):
    """Numbers `(rows,)` or `(rows, columns)` as `(rows, columns)`, also of no rows."""
    return number.reshape(len(number), number.shape[1] if number.ndim > 1 else 1)


def _of_cells(records, name, number, bad):
    """`Bad` for the cells of these distinct values: dict of number -> (cell, what is wrong)."""
    number, columns = _by_column(number), records.schema.columns(name)
    wrong = np.isin(number, list(bad))
    single = number.shape[1] == 1  # whether a bad value concerns the row's only cell, or one of several
    return [
        Bad(int(row), name, *bad[number[row, at]], None if single else columns[at])
        for row, at in zip(*np.nonzero(wrong), strict=True)
    ]


def strangers(records: "Records") -> list[str]:
    """What a model will not see of the inputs that are fitted, as most values of a column are unknown: sentences."""
    schema, found = records.schema, []
    for name, feature in schema.inputs.items():
        columns = schema.columns(name)
        if feature.fitted and not feature.files and {*columns} <= {*records.frame.columns}:
            said = codec_of(feature).strangers(feature, records.values(name))
            found += [f"{records.name}: {columns[at]!r}: {what}" for at, what in said]
    return found


def undecodable(records: "Records", name: str) -> list[Bad]:
    """The cells of an input or target whose files cannot be decoded: list of `Bad`. Shows a progress bar."""
    feature = records.schema.parts[name]
    if not feature.files:
        return []
    distinct, number = records.distinct(name)
    bar = keras.utils.Progbar(len(distinct), unit_name=f"file of {name!r}")
    status = [decoded.status for decoded in decode.in_chunks(feature, distinct, bar, records.access)]
    return unreadable(records, name, distinct, number, np.concatenate([np.zeros(0, np.int32), *status]))


def unreadable(records: "Records", name: str, distinct: Any, number: np.ndarray, status: np.ndarray) -> list[Bad]:
    """`Bad` for each of the rows whose value was not decoded, and is not merely missing.

    Args:
        records: `Records`.
        name: of the input or target.
        distinct, number: as `records.distinct` gives them.
        status: of each distinct value.
    """
    feature, reasons = records.schema.parts[name], {}
    may_be_empty = feature.optional or feature.views is not None
    for value in np.flatnonzero(status != decode.OK):
        cell = distinct[value] if distinct.ndim == 1 else ", ".join(distinct.iloc[value])
        if cell or not may_be_empty:
            reasons[value] = cell, _reason(records, name, cell)
    return _of_cells(records, name, number, reasons)


def _reason(records, name, cell):
    """Why a cell cannot be read."""
    part = records.schema.parts[name]
    if name in records.schema.targets and not part.files:
        return f"expected {part.expected}"
    codec = codec_of(part)
    return (part.files and records.access.refusal(codec, cell)) or codec.reason(part, cell)
