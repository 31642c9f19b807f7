"""The columns that a schema asks of a table."""

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import pandas as pd

from mmkeras.errors import InputError, shown, unknown, warn
from mmkeras.schema import Schema

if TYPE_CHECKING:
    from mmkeras.records import Records


def check_apart(schema: Schema) -> None:
    """Raise an `InputError` for a column of an input and of a target."""
    inputs = {column: name for name in schema.inputs for column in schema.columns(name)}
    for name in schema.targets:
        for column in schema.columns(name):
            if column in inputs:
                raise InputError(
                    f"read: the target {name!r} and the input {inputs[column]!r} have the same column {column!r}: the "
                    "model would be given what it is to predict; take it from the input, or allow it by "
                    "targets_as_inputs=True"
                )


def warn_of_copies(records: "Records") -> None:
    """Warn of an input's column that holds a target's value in every row."""
    if len(records) < 10:
        return
    schema, frame = records.schema, records.frame
    given = [column for name in schema.inputs for column in schema.columns(name)]
    for name in schema.targets:
        for column in schema.columns(name):
            for other in given:
                if frame[other].equals(frame[column]) and frame[column].nunique() > 1:
                    warn(
                        f"{records.name}: the column {other!r} of an input holds in every row what {column!r} of the "
                        f"target {name!r} holds: the model is given what it is to predict"
                    )


def other_encoding(frame: pd.DataFrame) -> str:
    """What to do where the header is not in the encoding that it was read in."""
    if not any(re.search(r"\\x[89a-f][0-9a-f]", column) for column in frame.columns):
        return ""
    return '. The header is not UTF-8: save the table as UTF-8, or give mk.read(..., encoding="cp1252") or another'


def lacking(schema: Schema, frame: pd.DataFrame, missing: Any, name: str) -> list[str]:
    """The columns of the parts that the table does not have."""
    if isinstance(missing, str) or not isinstance(missing, Collection):
        raise InputError(f"read: expected missing to be a list of names, received {shown(missing)}")
    for part in missing:
        if part not in schema.parts:
            raise unknown("input or target", part, schema.parts, where="read: missing: ")
        if not schema.parts[part].optional:
            raise InputError(f"read: missing: expected inputs and targets with optional=True, received {part!r}")
        for column in schema.columns(part):
            if column in frame.columns:
                raise InputError(f"read: missing: {part!r}: expected {name} to be without the column {column!r}")
    return [column for part in missing for column in schema.columns(part)]
