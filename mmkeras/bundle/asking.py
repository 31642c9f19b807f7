"""A version is asked in a process of its own."""

import json
import os
import subprocess
import sys
import tempfile

from mmkeras.errors import InputError

_ASK = """
import json, sys
import tensorflow as tf

bundle, rows = sys.argv[1], json.load(sys.stdin)
serve = tf.saved_model.load(bundle).signatures["serving_default"]
inputs = {}
for name in rows[0]:
    inputs[name] = tf.stack([tf.io.read_file(r[name]["file"]) if "file" in r[name] else r[name]["cell"] for r in rows])
answers = {name: value.numpy().tolist() for name, value in serve(**inputs).items()}
json.dump(answers, sys.stdout, default=bytes.decode)
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
    return json.loads(done.stdout)
