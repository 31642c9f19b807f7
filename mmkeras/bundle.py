"""A trained model as a SavedModel that TensorFlow Serving loads: raw bytes and strings in, labels out."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from mmkeras import decode
from mmkeras.errors import InputError
from mmkeras.evaluation import by_target, check_model
from mmkeras.schema import Category, Number, Series, Tabular


def export(model, schema, directory):
    """Write the next version of a served model: `directory/1`, then `directory/2`, whole or not at all.

    Signatures (n rows; with several targets every output but the statuses is prefixed by `<target>_`):

    - `serving_default`: each input by its name. `(n,)` string: the bytes of a picture, a WAV recording or a video (GIF,
      WebP), or the text; `Tabular`: `(n, columns)` string, the cells, numbers among them, "" for a hole; `Series`:
      `(n, steps, channels)` float32 for any number of steps, and `<name>_length` `(n,)` int32, how many are meant. An
      optional input is absent where the string is empty, all cells are, or the length is 0.
      Outputs: the answers, and the statuses `status` and `<input>_status` `(n,)` int32: 0 fine, 1 unreadable. A row
      with an unreadable value has the label "" and zeros; the others are answered.
    - `tensors`: each of `schema.model_inputs` by its name; outputs: the answers.

    The answers, by the kind of the target:

    - `Category`: `label` `(n,)` string, `score` `(n,)` float32, `probabilities` `(n, classes)` float32.
    - `Labels`: `label` `(n,)` string, the labels above 0.5 joined by the target's separator as in a table's cell (the
      separator alone for none), and `probabilities` `(n, classes)` float32.
    - `Number`: `value` `(n,)` float32, in the unit.

    The schema lies beside them in `assets.extra/schema.json`.

    Args:
        model: `keras.Model` whose inputs are the schema's.
        schema: fitted `Schema`.
        directory: folder of the versions.

    Returns:
        Path of the new version.

    Raises:
        InputError: a model that does not belong to the schema, or a directory that cannot be written.
    """
    schema.require_fitted("export")
    check_model(model, schema, "export")
    directory = Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # written beside the versions and renamed: a server that polls the folder never sees half a version
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=directory))
    except OSError as error:
        raise InputError(f"export: cannot write to {str(directory)!r}: {error.strerror}") from error
    try:
        _write(_archive(model, schema), unfinished)
        (unfinished / "assets.extra").mkdir()
        schema.save(unfinished / "assets.extra" / "schema.json")
        unfinished.chmod(0o755)  # mkdtemp's folder is its owner's alone; a server may run as somebody else
        return _publish(unfinished, directory)
    except OSError as error:
        raise InputError(f"export: cannot write to {str(directory)!r}: {error.strerror}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(archive, folder):
    """Write the SavedModel without TensorFlow's word that it lies in a folder which is about to be renamed."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        archive.write_out(folder, verbose=False)
    finally:
        logger.setLevel(level)


def _publish(unfinished, directory):
    """Rename to the first free version number; another process may take one in between."""
    version = max([int(path.name) for path in directory.iterdir() if path.name.isdecimal()], default=0)
    while True:
        version += 1
        try:
            return unfinished.rename(directory / str(version))
        except OSError:
            if not (directory / str(version)).exists():
                raise


def _archive(model, schema):
    archive = keras.export.ExportArchive()
    archive.track(model)
    decoders = {name: _decoder(archive, feature) for name, feature in schema.inputs.items()}
    raw = {key: spec for name, feature in schema.inputs.items() for key, spec in _raw(name, feature).items()}

    def tensors(*inputs):
        return _answers(model, schema, inputs)

    def serve(*values):
        given = dict(zip(raw, values, strict=True))
        inputs, statuses = {}, {}
        for name, feature in schema.inputs.items():
            values = [given[key] for key in _raw(name, feature)]
            made, statuses[f"{name}_status"] = _model_inputs(name, feature, decoders[name](*values), values)
            inputs |= made
        status = tf.reduce_max(tf.stack(list(statuses.values())), axis=0)
        answers = _answers(model, schema, [inputs[key] for key in schema.model_inputs])
        answers = {name: _where_ok(status, answer) for name, answer in answers.items()}
        return {**answers, "status": status, **statuses}

    taken = [tf.TensorSpec([None, *shape], dtype, name=key) for key, (shape, dtype) in schema.model_inputs.items()]
    archive.add_endpoint("serving_default", serve, input_signature=list(raw.values()))
    archive.add_endpoint("tensors", tensors, input_signature=taken)
    return archive


def _raw(name, feature):
    """What a client sends for one input: dict of key -> tf.TensorSpec."""
    if isinstance(feature, Series):
        length = f"{name}_length"
        values = tf.TensorSpec([None, None, feature.channels], tf.float32, name=name)
        return {name: values, length: tf.TensorSpec([None], tf.int32, name=length)}
    columns = [len(feature.columns)] if isinstance(feature, Tabular) else []
    return {name: tf.TensorSpec([None, *columns], tf.string, name=name)}


def _decoder(archive, feature):
    """The decoder of what a client sends, whose tables the archive holds."""
    if isinstance(feature, Series):
        return lambda values, length: decode.decode_series(values, length, feature)
    decoder = decode.decoder(feature)
    for layer in decoder.layers:
        layer(tf.constant([""]))  # makes its table
        archive.track(layer)
    return decoder


def _model_inputs(name, feature, decoded, raw):
    """One input as the model takes it, dict of key -> tensor; and its status `(n,)`."""
    inputs, status = {name: decoded.values}, decoded.status
    if feature.padded:
        inputs[f"{name}_length"] = decoded.length
    if feature.optional:
        there = tf.reduce_any(tf.reshape(raw[-1] != tf.zeros([], raw[-1].dtype), [tf.shape(raw[-1])[0], -1]), axis=1)
        inputs[f"{name}_present"] = there
        status = tf.where(there, status, decode.OK)
    return inputs, status


def _answers(model, schema, inputs):
    """The answers to every target, for any number of rows, none included."""
    rows = tf.shape(inputs[0])[0]
    spare = tf.maximum(1 - rows, 0)  # some layers (MelSpectrogram) cannot take 0 rows
    padded = [tf.pad(value, [[0, spare]] + [[0, 0]] * (len(value.shape) - 1)) for value in inputs]
    predictions = by_target(schema, model(padded, training=False))
    answers = {}
    for name, target in schema.targets.items():
        prefix = f"{name}_" if len(schema.targets) > 1 else ""
        answers |= {prefix + part: value for part, value in _answer(target, predictions[name][:rows]).items()}
    return answers


def _answer(target, predicted):
    """What is answered for one target: dict of output name -> tensor."""
    if isinstance(target, Number):
        return {"value": predicted}
    if isinstance(target, Category):
        label = tf.gather(tf.constant(target.classes), tf.argmax(predicted, axis=-1))
        return {"label": label, "score": tf.reduce_max(predicted, axis=-1), "probabilities": predicted}
    return {"label": _joined(target, predicted > 0.5), "probabilities": predicted}


def _joined(target, chosen):
    """The chosen labels of each row as one string: `(n, classes)` bool -> `(n,)` string."""
    ended = tf.constant([label + target.separator for label in target.classes])
    joined = tf.strings.reduce_join(tf.where(chosen, ended, ""), axis=-1)
    kept = tf.strings.length(joined) - len(target.separator.encode())
    labels = tf.strings.substr(joined, tf.zeros_like(kept), tf.maximum(kept, 0))
    return tf.where(tf.reduce_any(chosen, axis=-1), labels, target.separator)


def _where_ok(status, answer):
    ok = tf.reshape(status == decode.OK, [-1] + [1] * (len(answer.shape) - 1))
    return tf.where(ok, answer, tf.zeros_like(answer))


_ASK = """
import json, sys
import tensorflow as tf

bundle, rows = sys.argv[1], json.load(sys.stdin)
serve = tf.saved_model.load(bundle).signatures["serving_default"]
inputs = {}
for name in rows[0]:
    inputs[name] = tf.stack([tf.io.read_file(r[name]["file"]) if "file" in r[name] else r[name]["cell"] for r in rows])
answers = {name: value.numpy() for name, value in serve(**inputs).items()}
others = sorted(name for name in sys.modules if name.split(".")[0] == "mmkeras")
answers = {name: [v.decode() if isinstance(v, bytes) else v for v in value.tolist()] for name, value in answers.items()}
json.dump({"answers": answers, "others": others}, sys.stdout)
"""


def ask(bundle, rows, schema):
    """Ask an exported version in a fresh process that imports TensorFlow and nothing else.

    Args:
        bundle: path of the version, as `export` returns it.
        rows: list of dicts of input name -> raw value: a path for a picture, recording or video, the text itself, the
            cells of `Tabular`.
        schema: the model's `Schema`.

    Returns:
        dict of output name -> list with one answer a row.

    Raises:
        InputError: a bundle that cannot be loaded or asked; the message holds the process' last lines.
    """
    kind = {name: "file" if feature.files else "cell" for name, feature in schema.inputs.items()}
    question = [{name: {kind[name]: row[name]} for name in schema.inputs} for row in rows]
    done = subprocess.run(
        [sys.executable, "-c", _ASK, str(bundle)],
        input=json.dumps(question, default=str),
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=tempfile.gettempdir(),
        check=False,
    )
    if done.returncode:
        raise InputError(f"cannot ask the bundle {str(bundle)!r}: " + " ".join(done.stderr.strip().splitlines()[-3:]))
    return json.loads(done.stdout)["answers"]
