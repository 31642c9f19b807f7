"""A model for runtimes without TensorFlow: LiteRT (phones, boards) and ONNX, by Keras' own exporters."""

import importlib.util
import json
import logging
import logging.handlers
import os
import re
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from mmkeras.bundle.answers import labels_of
from mmkeras.bundle.asking import run_isolated
from mmkeras.bundle.versions import write_version
from mmkeras.decode import codec_of
from mmkeras.errors import InputError, unknown
from mmkeras.evaluation import check_model
from mmkeras.files import private_folder
from mmkeras.schema import Schema
from mmkeras.tasks import tasks_of

# float32 sums in another order: probabilities of every tower and fusion, small, were at most 7e-7 apart
TOLERANCE = 1e-4


def export_as(model: keras.Model, schema: Schema, directory: str | os.PathLike, format: str) -> Path:
    """Write the next version of a model for another runtime: `directory/1`, then `directory/2`, whole or not at all.

    In a version: `model.tflite` or `model.onnx`; `schema.json`; `labels.json`, target -> list of its labels in the
    order of the probabilities. The model takes each of `schema.model_inputs` by its name, decoded and with 1 row or
    more (0 rows: some towers fail, and ONNX Runtime 1.31 ends the whole process on some). It gives for each target by
    its name what the Keras model gives: `(n, classes)` probabilities, or `(n,)` numbers in the unit; and what its task
    decodes of that as `<target>_<part>`, words as their numbers: `<target>_label`, `<target>_score`, ...

    Before it is published, a process with the runtime and without TensorFlow answers a made-up batch of 3 rows (the
    last one lacks every optional input) and its first row alone; the answers must be those of Keras within 1e-4, a
    number's within 1e-4 of its deviation. In a spectrogram, bands 100 dB below a pure tone hold rounding alone; there
    both runtimes were seen to differ from Keras by up to 1.4 dB.

    Every tower, fusion and task of mmkeras converts, with masks, lengths and missing inputs. Nothing else than the
    runtime's own ops is used (no "select TensorFlow ops" of LiteRT). What it takes:

    - LiteRT: recurrent layers are unrolled, as their loops would need TensorFlow's ops. Each step of each layer costs
      about 0.3 s of converting and 4 kB; several hundred steps take minutes.
    - ONNX: spectrograms are made by a product with the cosines and sines; they grow with the square of the window.
    - Either has too few ops in float16 or bfloat16: a model of mixed precision is refused.

    Args:
        model: `keras.Model` whose inputs are the schema's.
        schema: fitted `Schema`.
        directory: folder of the versions; not one that TensorFlow Serving reads, which would try to load them.
        format: "litert" or "onnx".

    Returns:
        Path of the new version.

    Raises:
        InputError: an unknown format, a model that does not belong to the schema or is of mixed precision, a directory
            that cannot be written or holds SavedModels, a package that is missing, an op that the format does not have,
            a model that its runtime cannot load, outputs that differ.
    """
    if format not in FORMATS:
        raise unknown("format", format, ["saved_model", *FORMATS], where="export: ")
    kind = FORMATS[format]
    schema.require_fitted("export")
    check_model(model, schema, "export")
    _check_place(kind, format, directory)
    _check_precision(kind, model)
    tasks = tasks_of(model, schema)
    named = _named(model, schema, tasks)

    def write(folder):
        path = folder / kind.file
        try:
            kind.convert(named, path)
        except (InputError, OSError):
            raise
        except Exception as error:  # the converters raise whatever comes, and what they say has many pages
            raise _refusal(kind, f"{type(error).__name__}: {error}") from error
        _verify(kind, path, named, schema, tasks)
        schema.save(folder / "schema.json")
        labels = json.dumps(labels_of(schema, tasks), indent=1, ensure_ascii=False)
        (folder / "labels.json").write_text(labels + "\n", encoding="utf-8")

    return write_version(directory, write)


def _check_place(kind, format, directory):
    missing = [package for package in kind.packages if importlib.util.find_spec(package) is None]
    if missing:
        raise InputError(f'export: {kind.title} needs {", ".join(missing)}: pip install "mmkeras[{format}]"')
    served = next(Path(directory).glob("*/saved_model.pb"), None)
    if served is not None:
        raise InputError(
            f"export: expected a folder without SavedModels for {kind.title}, received {str(directory)!r}: TensorFlow "
            f"Serving, which reads {served.parent.name!r} in it, would try to load the new version"
        )


def _check_precision(kind, model):
    for layer in _layers(model):
        if layer.compute_dtype in ("float16", "bfloat16"):
            raise InputError(
                f"export: {kind.title} needs a model that computes in float32, received {layer.compute_dtype} in "
                f"{layer.name!r}: build it anew under keras.config.set_dtype_policy('float32') and set_weights"
            )


def _named(model, schema, tasks):
    """The same model with a dict of outputs, whose names both formats take over: by target, and what is decoded."""
    outputs = model.output if isinstance(model.output, dict) else dict.fromkeys(schema.targets, model.output)
    outputs = {name: outputs[name] for name in schema.targets}
    return keras.Model(model.inputs, outputs | _decoded(outputs, schema, tasks), name=model.name)


def _decoded(outputs, schema, tasks):
    """What the tasks decode of the outputs, but for these themselves: dict of `<target>_<part>` -> tensor."""
    found = {}
    for name, task in tasks.items():
        answer = task.answer(outputs[name], schema.targets[name])
        found |= {f"{name}_{part}": value for part, value in answer.items() if value is not outputs[name]}
    return found


def _refusal(kind, words):
    """The error of a converter in plain words: which op, and in which part of the model."""
    found = {}
    for op, path in kind.refused(words):
        places = [re.sub(r"_\d+$", "", place) for place in path.split("/")[1:-1]]
        found[f"{op!r} in {'/'.join(places) or path}"] = None
    if found:
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        return InputError(f"export: {kind.title} has no op for " + ", ".join(list(found)[:5]) + more)
    return InputError(f"export: Keras cannot convert the model to {kind.title}: {words.splitlines()[0][:300]}")


# LiteRT


def _to_litert(model, path):
    with _unrolled(model):
        builtin = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
        model.export(path, format="litert", verbose=False, target_spec=builtin)


@contextmanager
def _unrolled(model):
    """Recurrent layers are traced step by step: their loop over lists of any batch size is no op of LiteRT."""
    layers = [layer for layer in _layers(model) if getattr(layer, "unroll", None) is False]
    for layer in layers:
        layer.unroll = True
    try:
        yield
    finally:
        for layer in layers:
            layer.unroll = False


def _layers(layer):
    """Layers of a model, those of models within it, and those within wrappers."""
    inner = [getattr(layer, name, None) for name in ("layer", "forward_layer", "backward_layer")]
    for one in [*getattr(layer, "layers", []), *inner]:
        if isinstance(one, keras.Layer):
            yield one
            yield from _layers(one)


def _refused_by_litert(words):
    """(op, path) of each op in the converter's words: `loc(callsite(fused["Svd:", "model_1/tower_1/layer_1/Svd@...`."""
    errors = [line for line in words.splitlines() if "error:" in line]
    return [pair for line in errors for pair in re.findall(r'fused\["(\w+):", "([^"@]+)', line) if "/" in pair[1]]


# ONNX


def _to_onnx(model, path):
    _teach_tf2onnx()
    signature = [[tf.TensorSpec(tensor.shape, tensor.dtype, name=tensor.name) for tensor in model.inputs]]
    with _constants_stay_inside(), _errors_of_tf2onnx() as errors, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of Keras, which looks for np.object
        model.export(path, format="onnx", verbose=False, input_signature=signature)
    words = "\n".join(record.getMessage() for record in errors)
    if _refused_by_onnx(words):  # yet tf2onnx writes a file
        raise _refusal(FORMATS["onnx"], words)


def _refused_by_onnx(words):
    return [(op, path) for path, op in re.findall(r"op \[(.+): (\w+)\] is not supported", words)]


@contextmanager
def _errors_of_tf2onnx():
    """What tf2onnx logs of errors, as a list of records instead of lines on the screen."""
    logger, handler = logging.getLogger("tf2onnx"), logging.handlers.BufferingHandler(capacity=10**9)
    handler.setLevel("ERROR")
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield handler.buffer
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


@contextmanager
def _constants_stay_inside():
    """tf2onnx 1.17 makes an input of each constant that a function has captured, as the means of a Normalization."""
    from tf2onnx import tf_loader

    load = tf_loader.from_function

    def from_function(function, input_names, output_names, **options):
        own = {tensor.name for tensor in function.inputs[: len(function.inputs) - len(function.captured_inputs)]}
        input_names[:] = [name for name in input_names if name in own]
        return load(function, input_names, output_names, **options)

    tf_loader.from_function = from_function
    try:
        yield
    finally:
        tf_loader.from_function = load


def _teach_tf2onnx():
    """Ops of TensorFlow that tf2onnx 1.17 missing: erfc (of the exact GELU), and the parts of a Fourier transform."""
    from tf2onnx import utils
    from tf2onnx.handler import tf_op
    from tf2onnx.onnx_opset.signal import RFFTOp

    def constant(graph, values):
        return graph.make_const(utils.make_name("constant"), values.astype("float32")).output[0]

    def replace(graph, node, op, inputs):
        outputs = list(node.output)
        kept = {"shapes": [graph.get_shape(outputs[0])], "dtypes": [graph.get_dtype(outputs[0])]}
        graph.remove_node(node.name)
        graph.make_node(op, inputs, outputs=outputs, **kept)

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, graph, node, **_):
            erf = graph.make_node("Erf", node.input).output[0]
            replace(graph, node, "Sub", [constant(graph, np.ones(())), erf])

    @tf_op("RFFT")
    class Transform:
        @classmethod
        def version_13(cls, graph, node, **options):
            if any(reader.type == "ComplexAbs" for reader in graph.find_output_consumers(node.output[0])):
                RFFTOp.version_13(graph, node, **options)

    @tf_op(["Real", "Imag"])
    class Part:
        @classmethod
        def version_13(cls, graph, node, **_):
            (transform,) = node.inputs
            if transform.type != "RFFT":
                raise ValueError(f"expected the real transform in front of {node.name}, received {transform.type}")
            length = int(transform.inputs[1].get_tensor_value(as_list=False)[0])
            turns = np.outer(np.arange(length), np.arange(length // 2 + 1)) % length / length
            waves = np.cos(2 * np.pi * turns) if node.type == "Real" else -np.sin(2 * np.pi * turns)
            replace(graph, node, "MatMul", [transform.input[0], constant(graph, waves)])


# The proof


def _verify(kind, path, model, schema, tasks):
    """Raise an `InputError` unless the runtime answers as Keras does, a batch and a row alone."""
    values = _made_up(schema)
    expected = model([values[tensor.name] for tensor in model.inputs], training=False)
    expected = {name: ops.convert_to_numpy(answer) for name, answer in expected.items()}
    for rows in (3, 1):
        received = _ask(kind, path, {name: value[:rows] for name, value in values.items()})
        for name, target in schema.targets.items():
            answer, unit = expected[name][:rows], target.scale
            if name not in received or received[name].shape != answer.shape:
                shapes = {name: value.shape for name, value in received.items()}
                raise InputError(f"export: expected {name!r} {answer.shape} of {kind.title}, received {shapes}")
            apart = np.abs(received[name] - answer)
            if not np.all(apart <= TOLERANCE * unit + 1e-6 * np.abs(answer)):  # NaN is not, either
                raise InputError(
                    f"export: the answers of {kind.title} to {name!r} differ from those of Keras by up to "
                    f"{np.max(apart):.2g} in {rows} made-up rows; allowed are {TOLERANCE * unit:.2g}"
                )
        _verify_decoded(kind, received, schema, tasks)


def _verify_decoded(kind, received, schema, tasks):
    """Raise an `InputError` unless the runtime decodes its own outputs as the tasks do."""
    outputs = {name: ops.convert_to_tensor(received[name]) for name in schema.targets}
    for name, value in _decoded(outputs, schema, tasks).items():
        value, found = ops.convert_to_numpy(value), received.get(name)
        if found is None or found.shape != value.shape or not np.allclose(found, value, rtol=1e-5, atol=TOLERANCE):
            raise InputError(f"export: {kind.title} decodes {name!r} otherwise: expected {value}, received {found}")


def _ask(kind, path, values):
    """The runtime's answers by target, from a process of its own: if the runtime aborts, this one goes on."""
    with private_folder(prefix="mmkeras-ask-") as folder:
        np.savez(folder / "values.npz", **values)
        names, packages = ("values.npz", "answers.npz"), (*kind.packages[-1:], "numpy")  # the last is the runtime
        done = run_isolated(kind.ask, packages, str(path.resolve()), *names, folder=folder)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise InputError(f"export: the runtime of {kind.title} cannot load or run the model: {said[-1][:500]}")
        with np.load(folder / "answers.npz") as answers:
            return dict(answers)


def _made_up(schema, rows=3):
    """Decoded values of every input of the model; the first row is full, the last lacks what is optional."""
    random = np.random.default_rng(0)
    made = {}
    for name, feature in schema.inputs.items():
        given = {name + suffix: value for suffix, value in codec_of(feature).sample(feature, rows, random).items()}
        if feature.optional:
            for value in given.values():
                value[-1] = 0
            given[f"{name}_present"] = np.arange(rows) < rows - 1
        made |= given
    return made


_ASK_LITERT = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

model, values, answers = sys.argv[1:]
runner = Interpreter(model_path=model).get_signature_runner()
taken = runner.get_input_details()
np.savez(answers, **runner(**{name: value for name, value in np.load(values).items() if name in taken}))
"""

_ASK_ONNX = """
import sys
import numpy as np
import onnxruntime

model, values, answers = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
values = np.load(values)
given = session.run(None, {taken.name: values[taken.name] for taken in session.get_inputs()})
np.savez(answers, **{output.name: value for output, value in zip(session.get_outputs(), given)})
"""


@dataclass(frozen=True)
class Format:
    """How a format is written, read and asked.

    Attributes:
        title: its name in messages.
        file: name of the model's file.
        packages: that have to be there; the extra that brings them bears the format's name.
        convert: function of the model and the file's path.
        refused: function of a converter's words -> (op, path in the graph) of each op that the format lacks.
        ask: program of the arguments model, file of values, file of answers.
    """

    title: str
    file: str
    packages: tuple[str, ...]
    convert: Callable
    refused: Callable
    ask: str


FORMATS = {
    "litert": Format("LiteRT", "model.tflite", ("ai_edge_litert",), _to_litert, _refused_by_litert, _ASK_LITERT),
    "onnx": Format("ONNX", "model.onnx", ("tf2onnx", "onnx", "onnxruntime"), _to_onnx, _refused_by_onnx, _ASK_ONNX),
}
