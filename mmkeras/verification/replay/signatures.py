"""The signatures other than the one with golden outputs."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from . import rows
from .golden import Arrays, compare_golden, feeds

OF_EXAMPLES = ("examples", "classify", "regress")  # first words of signatures that take serialised tf.Examples
GOLDEN_NAMES = {"classes": "top_labels", "scores": "top_scores", "outputs": "value"}


def of(signatures: Mapping[str, Any], name: str) -> Any:
    """The signature of a name."""
    if name not in signatures:
        raise AssertionError(f"there is no signature {name!r}, only {', '.join(sorted(signatures)) or 'none'}")
    return signatures[name]


def taken(signature: Any) -> dict[str, tuple[tf.DType, tf.TensorShape]]:
    """The inputs of a loaded signature: dict of name -> (tf.DType, tf.TensorShape)."""
    return {name: (spec.dtype, spec.shape) for name, spec in signature.structured_input_signature[1].items()}


def described(signature_def: meta_graph_pb2.SignatureDef) -> dict[str, tuple[tf.DType, tf.TensorShape]]:
    """The same of a signature that is only described."""
    inputs = signature_def.inputs.items()
    return {name: (tf.as_dtype(info.dtype), tf.TensorShape(info.tensor_shape)) for name, info in inputs}


def ask(signature: Callable[..., Any], values: Arrays) -> Arrays:
    """Call a loaded signature: dicts of arrays in and out."""
    answers = signature(**{name: tf.constant(value) for name, value in values.items()})
    return {name: value.numpy() for name, value in answers.items()}


def check_other(name: str, signature: Any, values: Arrays, golden: dict[str, Any]) -> str:
    """A signature that takes the golden inputs, or tf.Examples of them, gives as many rows of finite numbers.

    Outputs that have a counterpart among the golden ones are compared with it.
    """
    method, _, target = name.partition("_")
    given = {"inputs": as_examples(values)} if method in OF_EXAMPLES else feeds(golden, taken(signature))
    found = ask(signature, given)
    if (
        method in OF_EXAMPLES and len(given["inputs"]) > 1
    ):  # in a request of its own, a row may have no value of an input at all
        rows.alone(partial(ask, signature), given, found, golden["tolerance"])
    check_finite(found, len(next(iter(values.values()))))
    places = {output: _counterpart(output, target, golden) for output in found}
    known = {output: golden["outputs"][place] for output, place in places.items() if place in golden["outputs"]}
    others = ", ".join(sorted(set(found) - set(known)))
    if not known:
        return f"answers with {others}"
    words = compare_golden({**golden, "outputs": known}, {output: found[output] for output in known})
    return words + (f"; also gives {others}" if others else "")


def _counterpart(output, target, golden):
    """The golden output of the same meaning."""
    if output in golden["outputs"]:
        return output
    return (f"{target}_" if target else "") + GOLDEN_NAMES.get(output, output)


def check_finite(answers: Arrays, rows: "int | None" = None) -> None:
    """Raise AssertionError unless every number is finite, and there are as many rows."""
    for name, value in answers.items():
        if rows is not None and value.shape[:1] != (rows,):
            raise AssertionError(f"{name}: expected {rows} rows, received the shape {value.shape}")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise AssertionError(f"{name}: numbers that are not finite")


def as_examples(values: Arrays) -> np.ndarray:
    """Each row as a serialised tf.Example."""
    rows = len(next(iter(values.values())))
    return np.array([_example(values, row) for row in range(rows)], object)


def _example(values, row):
    feature = {name: _as_feature(value[row], value.dtype) for name, value in values.items()}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def _as_feature(value, dtype):
    flat = np.ravel(np.asarray(value, dtype)).tolist()  # otherwise NumPy cuts zero bytes off a string
    if dtype.hasobject:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=flat))
    if dtype.kind == "f":
        return tf.train.Feature(float_list=tf.train.FloatList(value=flat))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=flat))
