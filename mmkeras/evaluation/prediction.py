"""A model's predictions as a table."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pandas as pd

from mmkeras.checks import check_whole, checked_keywords
from mmkeras.errors import InputError
from mmkeras.evaluation.scores import arrays_of, check_model
from mmkeras.pipeline import readable
from mmkeras.records import Records
from mmkeras.schema import Schema
from mmkeras.tasks import Task, tasks_of


@checked_keywords
def predict(model: keras.Model, records: Records, *, batch_size: int = 256) -> pd.DataFrame:
    """Predictions as a table.

    Args:
        model: `keras.Model` whose inputs are the schema's.
        records: `Records` with a fitted schema; their targets are not used.
        batch_size: rows at a time; only their outputs are held in memory.

    Returns:
        DataFrame of the records that can be read, with the index of the DataFrame that was read, or the numbers of
        the table's rows: `frame.join` puts the predictions beside their rows. For each `Category`: `<target>` (label),
        `<target>_score` (its probability) and `<target>_probability_<class>` for every class; for `Labels`: `<target>`
        (tuple of the labels above 0.5) and `<target>_probability_<class>`; for `Number`: `<target>` (in the unit); for
        others what their task's `columns` gives.
    """
    check_model(model, records.schema, "predict")
    check_whole(batch_size, "batch_size", "predict: ")
    records = readable(records)
    schema, tasks = records.schema, tasks_of(model, records.schema)
    answers = answers_of(model, records, batch_size) if len(records) else [_none(schema, tasks)]
    tables = [_columns(batch, schema, tasks) for batch in answers]
    table = {name: np.concatenate([part[name] for part in tables]) for name in tables[0]}
    return pd.DataFrame(table, index=records.index)


def answers_of(model: keras.Model, records: Records, batch_size: int) -> Iterator[dict[str, dict[str, np.ndarray]]]:
    """The decoded outputs, batch by batch: dicts of target -> part of the output -> `(batch, ...)`, with words."""
    schema, tasks = records.schema, tasks_of(model, records.schema)
    for batch in arrays_of(records, batch_size):
        outputs = schema.by_target(model.predict_on_batch([batch[name] for name in schema.model_inputs]))
        yield {name: task.decoded(outputs[name], schema.targets[name]) for name, task in tasks.items()}


def _none(schema: Schema, tasks: dict[str, Task]) -> dict[str, dict[str, np.ndarray]]:
    """The decoded outputs of zero rows."""
    shapes = {name: task.output_shape(schema.targets[name]) for name, task in tasks.items()}
    return {n: task.decoded(np.zeros((0, *shapes[n])), schema.targets[n]) for n, task in tasks.items()}


def _columns(answers: Any, schema: Schema, tasks: dict[str, Task]) -> dict[str, np.ndarray]:
    table = {}
    for name, task in tasks.items():
        for part, values in task.columns(answers[name], schema.targets[name]).items():
            column = f"{name}_{part}" if part else name
            if column in table:
                raise InputError(
                    f"predict: expected columns of different names, received {column!r} of {name!r} and of another "
                    "target: give one of the targets another name, with column=..."
                )
            table[column] = values
    return table
