"""How our functions become parts of TensorFlow graphs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# Our functions hold no Python if or while on tensors: converting them would only cost start-up time.
plain = tf.autograph.experimental.do_not_convert


def apart(function: Callable, *signature: tf.TensorSpec) -> Callable:
    """A function as one operation of a graph: written into it in full, it would cost time in every branch not taken.

    Args:
        function: of tensors.
        signature: tf.TensorSpec of each.
    """
    return tf.function(function, signature, autograph=False, experimental_attributes={"_noinline": True})


def from_numpy(function: Callable[..., Sequence[Any]], inputs: Sequence[tf.Tensor], dtypes: Sequence[Any]) -> Any:
    """`tf.numpy_function` whose ValueError fails this value alone.

    Raised through TensorFlow, it would also print Python's traceback for each broken file.

    Args:
        function: of NumPy values; gives a value for each dtype, and raises a ValueError for what it cannot read.
        inputs: tensors.
        dtypes: of the outputs.

    Returns:
        list of tensors of unknown shapes.

    Raises:
        tf.errors.InvalidArgumentError: with the ValueError's words.
    """
    kinds = [tf.as_dtype(dtype) for dtype in dtypes]

    def guarded(*values):
        try:
            return np.array(b"", object), *function(*values)
        except ValueError as error:
            nothing = (np.array(b"", object) if k == tf.string else np.zeros((), k.as_numpy_dtype) for k in kinds)
            return np.array(str(error).encode() or b"cannot decode", object), *nothing

    message, *outputs = tf.numpy_function(guarded, inputs, (tf.string, *kinds))
    message = tf.ensure_shape(message, ())
    check = tf.debugging.Assert(message == b"", [message])
    with tf.control_dependencies([check] if check is not None else []):
        return [tf.identity(output) for output in outputs]
