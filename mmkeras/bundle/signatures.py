"""The graph of a served model: raw values -> tensors -> answers."""

import os
from collections.abc import Callable, Iterable

import keras
import tensorflow as tf

from mmkeras import decode
from mmkeras.bundle import examples
from mmkeras.bundle.answers import answers, prefix
from mmkeras.bundle.shapes import as_promised, checked, equally_many
from mmkeras.decode import codec_of
from mmkeras.model import with_embedding
from mmkeras.schema import Schema
from mmkeras.tasks import tasks_of

EMPTY, TOO_LARGE, OTHER_SHAPE = 2, 3, 4  # beside decode's own
UNKNOWN = 5  # of an input, never of a row: it is answered
STATUSES = {
    str(decode.OK): "fine",
    str(decode.UNREADABLE): "unreadable",
    str(EMPTY): "empty, but not optional",
    str(TOO_LARGE): "more pixels, bytes or seconds than the model takes",
    str(OTHER_SHAPE): "a tensor of another shape than the signature says",
    str(UNKNOWN): "answered, but the model does not know most words of the text, or a word of the cells",
}


def archive_of(model: keras.Model, schema: Schema) -> tuple[keras.export.ExportArchive, dict[str, Callable]]:
    """What is to be saved.

    Args:
        model: `keras.Model` whose inputs are the schema's.
        schema: fitted `Schema`.

    Returns:
        `keras.export.ExportArchive` with all signatures, and a dict of name -> signature, a function of tensors.
    """
    archive = keras.export.ExportArchive()
    read = _reader(archive, schema)
    answer = _answerer(model, schema)
    if _holds_tables(answer):
        archive.track(model)  # else not: it would trace every layer again, in search of tables

    def served(values):
        inputs, statuses = read(*values)
        given = answer(*[inputs[key] for key in schema.model_inputs])
        return {name: _where_ok(statuses["status"], value) for name, value in given.items()}, statuses

    def serve(*values):
        given, statuses = served(values)
        given.pop("embedding", None)
        return {**given, **statuses}

    def embed(*values):
        given, statuses = served(values)
        return {"embedding": given["embedding"], **statuses}

    def from_examples(inputs):
        inputs, right = as_promised(inputs, serialized[0])
        values, good = examples.raw_values(schema, inputs)
        found = served_of_raw(*[values[key] for key in raw_inputs(schema)])
        bad = tf.where(good, decode.OK, decode.UNREADABLE)
        bad = tf.where(right, bad, OTHER_SHAPE)
        good &= right
        statuses = {name: tf.where(good, found.pop(name), bad) for name in list(found) if name.endswith("status")}
        return {name: _where_ok(bad, value) for name, value in found.items()} | statuses

    def tensors(*inputs):
        given = answer(*equally_many(checked(inputs, decoded)))
        given.pop("embedding", None)
        return given

    signatures = {}

    def add(name, function, taken):
        traced = tf.function(function, taken, autograph=False)
        signatures[name] = traced.get_concrete_function()
        archive.add_endpoint(name, traced)
        return signatures[name]

    raw = list(raw_inputs(schema).values())
    served_of_raw = add("serving_default", serve, raw)
    decoded = {
        key: tf.TensorSpec([None, *shape], dtype, name=key) for key, (shape, dtype) in schema.model_inputs.items()
    }
    add("tensors", tensors, list(decoded.values()))
    if "embedding" in answer.structured_outputs:
        add("embed", embed, raw)
    serialized = [tf.TensorSpec([None], tf.string, name="inputs")]
    all_answers = add("examples", from_examples, serialized)
    for name, served_as in _served(model, schema).items():
        parts = {key: prefix(schema, name) + part for key, part in served_as.outputs.items()}
        add(_method(schema, name, served_as), _renamed(all_answers, parts), serialized)
    return archive, signatures


def _renamed(all_answers, parts):
    """A function from tf.Examples to some of the answers, by other names."""
    return lambda inputs: {key: all_answers(inputs)[part] for key, part in parts.items()}


def raw_inputs(schema: Schema) -> dict[str, tf.TensorSpec]:
    """What a client sends: dict of key -> tf.TensorSpec."""
    return {
        key: spec
        for name, feature in schema.inputs.items()
        for key, spec in codec_of(feature).wire_spec(name, feature).items()
    }


def _reader(archive, schema):
    """A function, traced once, from raw values to the model's inputs and the statuses: two dicts."""
    decoders = {name: _decoder(archive, feature) for name, feature in schema.inputs.items()}

    def read(*values):
        specs = raw_inputs(schema)
        values, fits = zip(*map(as_promised, values, specs.values()), strict=True)
        given, right = (dict(zip(specs, found, strict=True)) for found in (equally_many(values), fits))
        inputs, statuses = {}, {}
        for name, feature in schema.inputs.items():
            keys = codec_of(feature).wire_spec(name, feature)
            made, status = _model_inputs(name, feature, decoders[name], [given[key] for key in keys])
            all_right = tf.reduce_all([right[key] for key in keys])
            statuses[f"{name}_status"] = tf.where(all_right, status, OTHER_SHAPE)
            inputs |= made
        return inputs, {"status": _of_rows(statuses.values()), **statuses}

    return tf.function(read, list(raw_inputs(schema).values()), autograph=False).get_concrete_function()


def _of_rows(statuses):
    """The status of each row: the highest of its inputs, `UNKNOWN` aside."""
    return tf.reduce_max(tf.stack([tf.where(one == UNKNOWN, decode.OK, one) for one in statuses]), axis=0)


def _decoder(archive, feature):
    """The decoder of what a client sends, whose tables the archive holds."""
    decoder = decode.decoder(feature)
    for layer in decoder.layers:
        layer(tf.constant([""]))  # makes its table
        archive.track(layer)
    return decoder


def _model_inputs(name, feature, decoder, raw):
    """One input as the model takes it, dict of key -> tensor; and its status `(n,)`."""
    codec = codec_of(feature)
    files = codec.there(feature, *raw)
    there = files if feature.views is None else tf.reduce_any(files, axis=1)
    values, status, length = decoder(*raw)
    made = {"": values, "_length": length, "_there": files, "_present": there}
    inputs = {name + suffix: made[suffix] for suffix in feature.received}
    status = tf.where(there, status, decode.OK if feature.optional else EMPTY)
    large = codec.too_large(feature, raw[0], status == decode.UNREADABLE)
    status = tf.where(large, TOO_LARGE, status)
    strange = there & (status == decode.OK) & codec.unknown(feature, values, *raw)
    return inputs, tf.where(strange, UNKNOWN, status)


def _holds_tables(function):
    """Whether a concrete function uses resources other than variables."""
    variables = {id(variable.handle) for variable in function.graph.variables}
    return any(x.dtype == tf.resource and id(x) not in variables for x in function.captured_inputs)


def _answerer(model, schema):
    """A function, traced once, from the model's inputs to the answers, and "embedding" if the model has one."""
    both, tasks = with_embedding(model, schema), tasks_of(model, schema)

    def answer(*inputs):
        rows = tf.shape(inputs[0])[0]
        spare = tf.maximum(1 - rows, 0)  # some layers (MelSpectrogram) cannot take 0 rows
        padded = [tf.pad(value, [[0, spare]] + [[0, 0]] * (len(value.shape) - 1)) for value in inputs]
        if both is None:
            found = answers(schema, tasks, model(padded, training=False))
        else:
            outputs, fused = both(padded, training=False)
            found = {**answers(schema, tasks, outputs), "embedding": tf.cast(fused, tf.float32)}
        return {name: value[:rows] for name, value in found.items()}

    taken = [tf.TensorSpec([None, *shape], dtype) for shape, dtype in schema.model_inputs.values()]
    return tf.function(answer, taken, autograph=False).get_concrete_function()


def _where_ok(status, answer):
    ok = tf.reshape(status == decode.OK, [-1] + [1] * (len(answer.shape) - 1))
    return tf.where(ok, answer, tf.zeros_like(answer))


def set_methods(folder: str | os.PathLike, model: keras.Model, schema: Schema) -> None:
    """Name the methods of TensorFlow Serving's Classify and Regress APIs: what was saved says Predict throughout."""
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(folder))
    for name, served_as in _served(model, schema).items():
        updater.replace_method_name(_method(schema, name, served_as), f"tensorflow/serving/{served_as.api}")
    updater.save()


def methods_of(names: Iterable[str], model: keras.Model, schema: Schema) -> dict[str, str]:
    """The API of TensorFlow Serving that each signature is for: "predict", "classify" or "regress"."""
    found = {_method(schema, name, served_as): served_as.api for name, served_as in _served(model, schema).items()}
    return {name: found.get(name, "predict") for name in names}


def _served(model, schema):
    """Of each target that TensorFlow Serving's Classify or Regress API gives: how, as its task says."""
    found = {name: task.served(schema.targets[name]) for name, task in tasks_of(model, schema).items()}
    return {name: served_as for name, served_as in found.items() if served_as is not None}


def _method(schema, name, served_as):
    """The signature of one target for TensorFlow Serving's Classify or Regress API."""
    return f"{served_as.api}_{name}" if len(schema.targets) > 1 else served_as.api
