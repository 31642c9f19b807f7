"""A trained model as a SavedModel that TensorFlow Serving loads: raw bytes and strings in, labels out.

__init__     mk.export: what a version holds
signatures   the graph: raw values -> tensors -> predictions
shapes       what is fed beside the shapes that a signature promises
answers      a model's outputs as labels, scores and numbers
examples     serialised tf.Example -> raw values, and back
golden       a batch of raw values with its predictions, and the requests that warm a server up
card         the model card
formats      LiteRT and ONNX, by Keras' own exporters
asking       a version is run in a process of its own
versions     1, 2, 3 ...: written whole or not at all
"""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mmkeras import __version__
from mmkeras.bundle.answers import labels_of
from mmkeras.bundle.asking import ask
from mmkeras.bundle.card import model_card
from mmkeras.bundle.formats import FORMATS, export_as
from mmkeras.bundle.golden import golden_batch, write_warm_up
from mmkeras.bundle.signatures import STATUSES, archive_of, methods_of, set_methods
from mmkeras.bundle.versions import write_version
from mmkeras.checks import checked_keywords
from mmkeras.errors import InputError, unknown
from mmkeras.evaluation import Evaluation, check_model
from mmkeras.model_spec import ModelSpec
from mmkeras.records import Records
from mmkeras.schema import Schema
from mmkeras.tasks import tasks_of
from mmkeras.transfer import weight_history

__all__ = ["ask", "export"]


@checked_keywords
def export(
    model: keras.Model,
    schema: Schema,
    directory: str | os.PathLike[str],
    *,
    format: str = "saved_model",
    records: Records | None = None,
    evaluation: Evaluation | None = None,
    spec: ModelSpec | None = None,
    history: keras.callbacks.History | None = None,
    notes: str = "",
) -> Path:
    """Write the next version of a served model: `directory/1`, then `directory/2`, whole or not at all.

    Signatures (n rows, or 0; with several targets every output is prefixed by `<target>_`):

    - `serving_default`: each input by its name. `(n,)` string: the bytes of a picture, a WAV recording or a video (GIF,
      WebP), or the text; `Tabular`: `(n, columns)` string, the cells, numbers too, "" for a hole; `Series`:
      `(n,)` string, the bytes of a .npy file `(steps, channels)` of any real dtype. An optional input is missing where
      the string is empty, or all cells are. Of several files a row
      (`columns=[...]`) one more axis follows the rows: `(n, columns)` string; empty ones are missing, and if all are
      empty, the input is. Outputs: the predictions, and
      `status` and `<input>_status` `(n,)` int32: 0 fine, 1 unreadable, 2 empty but not optional, 3 larger than the
      schema allows (`max_pixels`, `max_bytes`, `max_seconds`), 4 a tensor that has not the shape named here, in all its
      rows. A row's status is the highest of its inputs; if it is not 0, the row has the label "" and zeros; the other
      rows get their predictions. `<input>_status` 5 does not count for the row, which is answered: the model does not
      know most words of the text (or finds none), or a word of the cells.
    - `embed`: takes the same, gives `embedding` `(n, width)` float32, the fused vector, and the statuses. For a model
      of `mk.build` whose fusion gives one vector (not "late").
    - `examples`: `inputs` `(n,)` string, serialised tf.Example with the same values by the same names; gives what
      `serving_default` does.
    - `classify`, `regress` (`classify_<target>`, `regress_<target>` of several targets): the same, as TensorFlow
      Serving's Classify and Regress APIs take and give it (`classes` and `scores` `(n, k)`, `outputs` `(n,)`).
    - `tensors`: each of `schema.model_inputs` by its name; gives the predictions.

    The predictions, by the kind of the target:

    - `Category`: `label` `(n,)` string, `score` `(n,)` float32, `probabilities` `(n, classes)` float32; `top_labels`
      and `top_scores` `(n, k)`, the five most probable (or all, if fewer).
    - `Labels`: `label` `(n,)` string, the labels above 0.5 joined by the target's separator as in a table's cell (the
      separator alone for none), `probabilities`, `top_labels` and `top_scores`.
    - `Number`: `value` `(n,)` float32, in the unit.
    - Others: the output of their task's `answer`, with strings in the place of word numbers.

    The folder `assets.extra` also holds `schema.json`; `spec.json` (if given); `about.json` (versions, labels, units,
    metrics, history, the sources of transferred weights); `MODEL_CARD.md`; `golden.json`, a batch of raw values with
    their predictions, which `mmkeras verify` asks for again; `tf_serving_warmup_requests`, which TensorFlow Serving
    replays before it serves.

    With format "litert" or "onnx" a version is model.tflite or model.onnx instead, which does the same as `tensors`,
    with schema.json and labels.json: see `mmkeras.bundle.formats.export_as`.

    Args:
        model: `keras.Model` whose inputs are the schema's.
        schema: fitted `Schema`.
        directory: folder of the versions.
        format: "saved_model", "litert" (TensorFlow Lite) or "onnx". The last two take none of the arguments below.
        records: `Records`, of which up to 8 rows join the golden batch; None: values made up from the schema alone.
        evaluation: `Evaluation` of the model, for about.json and the card.
        spec: the `ModelSpec` that it was built from.
        history: returned by `fit`.
        notes: Markdown for the card: the source of the data, uses that the model is not meant for.

    Returns:
        Path of the new version.

    Raises:
        InputError: a schema without targets, a model that does not belong to it, an argument of another kind, outputs
            that are not finite or differ from the model's own, or a directory that cannot be written.
    """
    _check_kind("model", model, keras.Model, needed=True)
    _check_kind("schema", schema, Schema, needed=True)
    _check_kind("directory", directory, (str, os.PathLike), needed=True)
    _check_kind("notes", notes, str, needed=True)
    if format not in ("saved_model", *FORMATS):
        raise unknown("format", format, ("saved_model", *FORMATS), where="export: ")
    schema.require_fitted("export")
    check_model(model, schema, "export")
    if format != "saved_model":
        _refuse_papers(format, records=records, evaluation=evaluation, spec=spec, history=history, notes=notes)
        return export_as(model, schema, directory, format)
    for name, value, kind in (("records", records, Records), ("evaluation", evaluation, Evaluation)):
        _check_kind(name, value, kind)
    _check_kind("spec", spec, ModelSpec)
    _check_kind("history", history, keras.callbacks.History)
    if records is not None and records.schema.inputs != schema.inputs:
        raise InputError("export: expected records of the same schema, received some whose inputs differ")
    name = Path(directory).resolve().name

    def write(folder):
        archive, signatures = archive_of(model, schema)
        _write_graph(archive, folder)
        set_methods(folder, model, schema)
        extra = folder / "assets.extra"
        extra.mkdir()
        schema.save(extra / "schema.json")
        if spec is not None:
            _write_text(extra / "spec.json", spec.to_json())
        golden = golden_batch(signatures["serving_default"], schema, model, records)
        _write_json(extra / "golden.json", golden.as_json())
        write_warm_up(extra / "tf_serving_warmup_requests", golden, schema, name, methods_of(signatures, model, schema))
        tasks = tasks_of(model, schema)
        about = _about(model, schema, tasks, evaluation, history)
        _write_json(extra / "about.json", about)
        _write_text(extra / "MODEL_CARD.md", model_card(name, schema, tasks, about, spec, notes))

    return write_version(directory, write)


def _refuse_papers(format, **papers):
    for name, value in papers.items():
        if value is not None and not (isinstance(value, str) and not value):
            raise InputError(f'export: expected {name} with format="saved_model" alone, received it with {format!r}')


def _check_kind(name, value, kind, needed=False):
    if (value is None and not needed) or isinstance(value, kind):
        return
    expected = "a path" if isinstance(kind, tuple) else f"a {kind.__name__}"
    raise InputError(f"export: expected {name} to be {expected}, received {type(value).__name__}")


def _write_graph(archive, folder):
    """Write the SavedModel without TensorFlow's log line of its folder, which is about to be renamed."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        archive.write_out(folder, verbose=False)
    finally:
        logger.setLevel(level)


def _about(model, schema, tasks, evaluation, history):
    """The facts about a model, as plain values."""
    units = {name: task.unit(schema.targets[name]) for name, task in tasks.items()}
    about = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "mmkeras": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "parameters": model.count_params(),
        "labels": labels_of(schema, tasks),
        "units": {name: unit for name, unit in units.items() if unit is not None},
        "statuses": STATUSES,
        "weight_history": weight_history(model),
    }
    if evaluation is not None:
        about["metrics"] = {name: _finite(value) for name, value in evaluation.metrics.items()}
        about["subsets"] = json.loads(evaluation.subsets.to_json(orient="records"))
    if history is not None:
        about["history"] = {name: list(map(_finite, values)) for name, values in history.history.items()}
    return about


def _finite(value):
    """A number for JSON; None for NaN, which JSON does not have."""
    return float(value) if np.isfinite(value) else None


def _write_json(path, content):
    _write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))


def _write_text(path, text):
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
