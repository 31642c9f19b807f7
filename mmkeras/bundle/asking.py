"""Run a version, or another program, in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from mmkeras.bundle.golden import plain
from mmkeras.decode import codec_of
from mmkeras.errors import InputError, shown
from mmkeras.files import private_folder
from mmkeras.schema import Schema

_ASK = """
import base64, json, sys
import tensorflow as tf

def raw(value):
    if isinstance(value, list):
        return [raw(one) for one in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value

bundle, inputs = sys.argv[1], json.load(sys.stdin)
serve = tf.saved_model.load(bundle).signatures["serving_default"]
kinds = serve.structured_input_signature[1]
inputs = {name: tf.constant(raw(value), kinds[name].dtype) for name, value in inputs.items()}
answers = {name: value.numpy().tolist() for name, value in serve(**inputs).items()}
json.dump(answers, sys.stdout, default=bytes.decode)
"""


def ask(bundle: str | os.PathLike, rows: Sequence[Mapping[str, Any]], schema: Schema) -> dict[str, list]:
    """Run an exported version in a fresh process that imports TensorFlow and nothing else.

    Args:
        bundle: path of the version, as `export` returns it.
        rows: list of dicts of input name -> content of the table's cell: a path for a picture, recording, trace or
            video, the text itself, the cells of `Tabular`.
        schema: the model's `Schema`.

    Returns:
        dict of output name -> list with one value a row.

    Raises:
        InputError: a file that cannot be read; a bundle that cannot be loaded or run: the message holds the process'
            last lines.
    """
    question: dict[str, Any] = {}
    for name, feature in schema.inputs.items():
        cells = np.array([row[name] for row in rows]).astype(str).astype(object)
        try:
            sent = codec_of(feature).sent(feature, cells)
        except tf.errors.OpError as error:
            raise InputError(f"ask: {name!r}: cannot read one of {shown(cells.tolist())}: {error.message}") from error
        question |= codec_of(feature).batch(name, feature, sent)
    given = json.dumps({key: plain(values) for key, values in question.items()})
    with private_folder(prefix="mmkeras-ask-") as folder:
        done = run_isolated(_ASK, ("tensorflow", "numpy"), os.path.abspath(bundle), folder=folder, given=given)
    if done.returncode:
        raise InputError(f"cannot run the bundle {str(bundle)!r}: " + " ".join(done.stderr.strip().splitlines()[-3:]))
    return json.loads(done.stdout)


def run_isolated(
    program: str, packages: Sequence[str], *arguments: str, folder: Path, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a Python program that imports nothing but Python's own modules and installed packages.

    It sees neither the current folder nor PYTHONPATH, so it runs no code that somebody put there.

    Args:
        program: its text.
        packages: to be found as they are found here, wherever they are installed.
        arguments: of the program.
        folder: its current folder: empty, or with files of ours alone.
        given: its standard input.

    Returns:
        `subprocess.CompletedProcess` with the text that it printed.
    """
    found = [importlib.util.find_spec(name).submodule_search_locations[0] for name in packages]
    paths = list(dict.fromkeys(os.path.dirname(os.path.abspath(path)) for path in found))
    return subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path += {paths!r}\n{program}", *arguments],
        input=given,
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        cwd=folder,
        check=False,
    )
