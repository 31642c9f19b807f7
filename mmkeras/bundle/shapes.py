"""What a request holds beside the shapes that a signature promises: a session does not hold a client to them."""

from collections.abc import Mapping, Sequence

import tensorflow as tf


def as_promised(value: tf.Tensor, spec: tf.TensorSpec) -> tuple[tf.Tensor, tf.Tensor]:
    """A tensor of a request as it is, or nothing in each of its rows where it has another shape.

    Args:
        value: as it was fed, of any rank.
        spec: what the signature takes, `(n, ...)`.

    Returns:
        A tensor of the spec's shape: the value, or as many rows of empty strings or zeros; and whether it is the
        value, scalar bool.
    """
    value, shape, fits = _found(value, spec)
    rows = tf.concat([shape, [1]], axis=0)[:1]
    nothing = tf.concat([rows, [size or 0 for size in spec.shape[1:]]], axis=0)
    kept = tf.cond(fits, lambda: value, lambda: tf.zeros(nothing, spec.dtype))
    kept.set_shape(spec.shape)
    return kept, fits


def checked(values: Sequence[tf.Tensor], specs: Mapping[str, tf.TensorSpec]) -> list[tf.Tensor]:
    """The tensors of a request, of which one of another shape fails it."""
    found = [_found(value, spec) for value, spec in zip(values, specs.values(), strict=True)]
    checks = [
        tf.debugging.Assert(fits, [f"expected {key} of the shape {spec.shape}, found", shape])
        for (key, spec), (_, shape, fits) in zip(specs.items(), found, strict=True)
    ]
    with tf.control_dependencies(checks):
        return [tf.ensure_shape(value, spec.shape) for (value, _, _), spec in zip(found, specs.values(), strict=True)]


def equally_many(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """The tensors of a request, unless they differ in their numbers of rows."""
    rows = tf.stack([tf.shape(value)[0] for value in values])
    check = tf.debugging.Assert(
        tf.reduce_all(rows == rows[0]), ["expected equally many rows of all inputs, found", rows]
    )
    with tf.control_dependencies([check]):
        return [tf.identity(value) for value in values]


def _found(value, spec):
    """The tensor, its shape, and whether it is as promised."""
    # hides what was promised: TensorFlow would take it for granted, here and where it simplifies the graph
    value = tf.raw_ops.PlaceholderWithDefault(input=value, shape=tf.TensorShape(None))
    shape = tf.shape(value)
    sizes = tf.constant([-1 if size is None else size for size in spec.shape], tf.int32)
    right_rank = tf.size(shape) == len(spec.shape)
    compared = tf.cond(right_rank, lambda: shape, lambda: tf.fill([len(spec.shape)], -2))
    return value, shape, tf.reduce_all((compared == sizes) | (sizes == -1) & (compared >= 0))
