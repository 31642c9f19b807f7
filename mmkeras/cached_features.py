"""Frozen towers run once over all rows, and the layers after them are trained on their features."""

from collections.abc import Collection
from typing import Any

import keras
import numpy as np

from mmkeras.checks import checked_keywords
from mmkeras.errors import InputError, shown, unknown
from mmkeras.model import halves
from mmkeras.pipeline import batches, labels, readable, row_weights
from mmkeras.pipeline.weights import ClassWeight
from mmkeras.records import Records
from mmkeras.schema import Schema


@checked_keywords
def features_model(model: keras.Model, schema: Schema, towers: Collection[str]) -> keras.Model:
    """A second view over the same weights: the model without these towers, for `extract_features`.

    Its layers are the model's own: train this view, with pre-trained towers, at a fraction of the cost. Then predict
    with the model and export it, or train it further as a whole. Compile the view first.

    Args:
        model: `keras.Model` of `mk.build`.
        schema: the one it was built from.
        towers: list of the inputs whose towers are left out, at least one.

    Returns:
        `keras.Model` with the model's outputs. Its inputs are the model's own for the other towers and, in the place of
        each of these, `<name>_tokens` `(batch, tokens, width)` float32, `<name>_tokens_mask` `(batch, tokens)` bool
        where the tower has a mask, `<name>_grid0` `(batch, rows, columns, channels)` and so on where a task reads them,
        and `<name>_present` `(batch,)` bool if the input is optional.

    Raises:
        InputError: an unknown input, none, a schema without targets; a model that `build` did not make of the schema.
    """
    return _halves(model, schema, towers, "features_model")[1]


@checked_keywords
def extract_features(
    model: keras.Model,
    records: Records,
    towers: Collection[str],
    *,
    class_weight: ClassWeight = None,
) -> tuple[dict[str, np.ndarray], Any, Any]:
    """The features of all rows, and the other inputs of `features_model`: `fit(x, y, sample_weight=weights)`.

    The towers see every row once, without augmentation and without dropout.

    Args:
        model: `keras.Model` of `mk.build`.
        records: `Records` with the schema that it was built from.
        towers: list of the inputs whose towers are run, at least one.
        class_weight: as of `mk.batches`, for rows to train on.

    Returns:
        `(x, y, weights)`: x a dict of input name -> array `(rows, ...)`, as `features_model(model, records.schema,
        towers)` takes it; y the targets and weights the sample weights `(rows,)`, one array, or a dict by target if the
        schema has several; weights None where no target is optional and no class weights are asked for.

    Raises:
        InputError: as of `features_model`; a file that cannot be decoded or a label that is no class; unknown class
            weights.
    """
    front, rest = _halves(model, records.schema, towers, "extract_features")
    records = readable(records, targets=True)
    records.require_rows("extract_features")
    rows = batches(records, 256, targets=False)
    made = front.predict(rows, verbose=0)
    x: dict[str, np.ndarray] = {}
    wanted = [tensor.name for tensor in rest.inputs]
    for name, arrays in made.items():
        grids = [f"{name}_grid{number}" for number in range(len(arrays))]
        keys = [key for key in (f"{name}_tokens", f"{name}_tokens_mask", *grids, f"{name}_present") if key in wanted]
        x |= dict(zip(keys, arrays, strict=True))
    live = [key for key in wanted if key not in x]
    given = [{key: keras.ops.convert_to_numpy(batch[key]) for key in live} for batch in rows] if live else []
    x |= {key: np.concatenate([batch[key] for batch in given]) for key in live}
    truth = labels(records)
    weights = row_weights(records, truth, class_weight)
    return x, *(records.schema.fold(values) if values else None for values in (truth, weights))


def _halves(model: keras.Model, schema: Schema, towers: Collection[str], where: str) -> tuple[keras.Model, keras.Model]:
    """The model's two halves, if these are inputs and it is of the schema."""
    if isinstance(towers, str) or not list(towers):
        raise InputError(f"{where}: expected towers to be a list of inputs, at least one, received {shown(towers)}")
    for name in towers:
        if name not in schema.inputs:
            raise unknown("input", name, schema.inputs, where=f"{where}: ")
    parts = halves(model, schema, towers) if schema.targets else None
    if parts is None:
        raise InputError(f"{where}: expected a model that build made of the schema, with targets, received another")
    return parts
