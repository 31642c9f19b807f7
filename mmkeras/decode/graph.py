"""How our functions become parts of TensorFlow graphs."""

from collections.abc import Callable

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
