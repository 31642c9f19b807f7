"""The first metric of every target, over the cached features of a model's towers, batch by batch."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from mmkeras.errors import InputError
from mmkeras.model import halves
from mmkeras.pipeline import batches, row_weights, truths
from mmkeras.pipeline.weights import class_numbers
from mmkeras.records import Records
from mmkeras.schema import Schema
from mmkeras.tasks import shape_of, tasks_of

Values = dict[str, list[np.ndarray]]  # of each input the tensors that the last stage reads, `(rows, ...)` each


def check_model(model: keras.Model, schema: Schema, purpose: str) -> None:
    """Raise an `InputError` unless the schema is fitted and has targets, and the model's inputs and outputs are its."""
    if not schema.targets:
        raise InputError(f"{purpose}: expected a schema with targets, received one without: the model predicts nothing")
    schema.require_fitted(purpose)
    expected = {name: shape for name, (shape, _) in schema.model_inputs.items()}
    received = {tensor.name: tuple(tensor.shape[1:]) for tensor in model.inputs}
    if list(received.items()) != list(expected.items()):
        raise InputError(f"{purpose}: expected a model with the schema's inputs {expected}, received {received}")
    for name, task in tasks_of(model, schema).items():
        output = model.output[name] if isinstance(model.output, dict) else model.output
        shape = task.output_shape(schema.targets[name])
        if tuple(output.shape[1:]) != shape:
            raise InputError(
                f"{purpose}: expected outputs {shape_of(shape)} for {name!r}, which is a "
                f"{type(schema.targets[name]).__name__} of the schema, received {tuple(output.shape)}"
            )


class Scorer:
    """Scores a model on values that may be changed.

    Args:
        model: `keras.Model` whose inputs are the schema's.
        records: `Records` all of whose rows are readable.
        batch_size: rows at a time.

    Attributes:
        values: the inputs of the last stage, dict of input name -> list of `(rows, ...)`; the last of an optional
            input's list is `<name>_present`. If `build` made the model, the stage is all layers after the towers, which
            run once; otherwise it is the whole model.
    """

    def __init__(self, model: keras.Model, records: Records, batch_size: int):
        schema = records.schema
        self.schema, self.batch_size, self.rows = schema, batch_size, len(records)
        self.stage, self.values = _last_stage(model, records, batch_size)
        self.truth = truths(records)
        self.weights = row_weights(records, class_numbers(records))
        tasks = tasks_of(model, schema)
        self.metrics = {name: task.metrics(schema.targets[name])[0] for name, task in tasks.items()}

    def score(self, values: Values) -> dict[str, tuple[str, float]]:
        """The first metric of every target over the rows that have it: dict of target -> (name, value)."""
        for metric in self.metrics.values():
            metric.reset_state()
        tensors = [tensor for name in self.schema.inputs for tensor in values[name]]
        for start in range(0, self.rows, self.batch_size):
            rows = slice(start, start + self.batch_size)
            self._update(rows, self.stage.predict_on_batch([tensor[rows] for tensor in tensors]))
        results = {name: float(ops.convert_to_numpy(metric.result())) for name, metric in self.metrics.items()}
        return {name: (self.metrics[name].name, value) for name, value in results.items()}

    def _update(self, rows: slice, outputs: Any) -> None:
        weights = {name: values[rows] for name, values in self.weights.items()}
        for name, output in self.schema.by_target(outputs).items():
            truth = self.truth[name].take(rows).array()
            self.metrics[name].update_state(truth, output, sample_weight=weights.get(name))


def arrays_of(records: Records, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """The model's inputs, batch by batch: dicts of name -> `(batch, ...)`, on every backend."""
    for batch in batches(records, batch_size, targets=False):
        yield {name: ops.convert_to_numpy(value) for name, value in batch.items()}


def _last_stage(model: keras.Model, records: Records, batch_size: int) -> tuple[keras.Model, Values]:
    schema = records.schema
    parts = halves(model, schema)
    if parts:
        front, stage = parts
        return stage, front.predict(batches(records, batch_size, targets=False), verbose=0)
    given = list(arrays_of(records, batch_size))
    tensors = {name: np.concatenate([batch[name] for batch in given]) for name in schema.model_inputs}
    own = {name: [name + suffix for suffix in feature.received] for name, feature in schema.inputs.items()}
    return model, {name: [tensors[key] for key in keys] for name, keys in own.items()}


def without(tensors: list[np.ndarray], rows: Any) -> list[np.ndarray]:
    """An optional input's tensors, missing in some rows."""
    present = tensors[-1].copy()
    present[rows] = False
    return [*tensors[:-1], present]
