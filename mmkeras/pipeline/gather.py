"""The inputs of one batch, in a graph."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from mmkeras.decode import codec_of
from mmkeras.errors import InputError, unknown
from mmkeras.inputs import Input
from mmkeras.pipeline.decoded import columns
from mmkeras.records import Records
from mmkeras.schema import Schema


def gatherer(
    records: Records, training: bool, group_by: str | None = None
) -> Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]:
    """A function from row numbers `(batch,)` and a random number to the dict of inputs.

    Args:
        records: `Records` all of whose rows are readable.
        training: whether to cut a random window from recordings that are longer than the model's.
        group_by: name of the input whose distinct values are in a batch once, with `<group_by>_index`.
    """
    features, decoded = records.schema.inputs, columns(records)
    if group_by is not None:
        _check_group(features, group_by)
    with tf.device("CPU"):
        index = {name: tf.constant(decoded[name].index, tf.int64) for name in features}

    def gather(rows, draw):
        given = {}
        for name, feature in features.items():
            numbers = tf.gather(index[name], rows)
            given |= presence(name, feature, numbers != len(decoded[name].values) - 1)
            if name == group_by:
                numbers, given[f"{name}_index"] = tf.unique(numbers)
            for key in (name, f"{name}_length"):
                if key in decoded:
                    given[key] = decoded[key].gather(numbers)
        order = records.schema.model_inputs if group_by is None else records.schema.deduplicated_inputs(group_by)
        return finish(given, records.schema, order, draw if training else None)

    return gather


def presence(name: str, feature: Input, there: Any) -> dict[str, Any]:
    """Which values are there: `(batch,)` bool, of several files `(batch, columns)`."""
    made = {"_there": there, "_present": there if feature.views is None else tf.reduce_any(there, axis=1)}
    return {name + suffix: made[suffix] for suffix in made if suffix in feature.received}


def finish(
    given: Mapping[str, tf.Tensor], schema: Schema, names: Iterable[str], draw: tf.Tensor | None
) -> dict[str, tf.Tensor]:
    """The inputs `names` from decoded values and their lengths, recordings cut to the model's duration.

    Args:
        given: dict of name -> tensor, `<name>_length` among them.
        schema: `Schema`.
        names: which are wanted, in order.
        draw: random number that places the windows, scalar int64; None: at the beginning.
    """
    given = dict(given)
    for place, (name, feature) in enumerate(schema.inputs.items()):
        codec = codec_of(feature)
        if codec.stored(feature) is not feature:
            seed = None if draw is None else [draw, place]
            given[name] = codec.window(feature, given[name], given[f"{name}_length"], seed)
    return {name: given[name] for name in names}


def _check_group(features, name):
    if name not in features:
        raise unknown("input", name, features, where="batches: group_by: ")
    if not features[name].shared:
        raise InputError(f"batches: group_by={name!r}: expected an input with shared=True, received {features[name]!r}")
    if tf.distribute.has_strategy() or keras.distribution.distribution() is not None:
        raise InputError(
            f"batches: group_by={name!r} under a distribution strategy, which would separate rows from their values; "
            "expected no group_by"
        )
