"""Three ways to run a bundle."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

import tensorflow as tf

from . import program, rows
from .golden import compare_golden, feeds
from .graph import served_graph
from .signatures import ask, check_other, described, of, taken
from .warm_up import check_warm_up

Check = Callable[[str, Callable[[], "str | None"]], None]  # takes the name of a check and the function that makes it
OUTSIDERS = ("mmkeras", "keras", "tf_keras")


def by_load(bundle: str, golden: dict[str, Any], check: Check) -> None:
    """`tf.saved_model.load` and its signatures, as a Python program does."""
    signatures = tf.saved_model.load(bundle).signatures
    check("imports", _imports)
    main = of(signatures, golden["signature_name"])
    values = feeds(golden, taken(main))
    together = {}

    def batch():
        together.update(ask(main, values))
        return compare_golden(golden, together)

    check("golden batch", batch)
    for name, rule in (("rows by themselves", rows.alone), ("rows in reverse", rows.reverse), ("0 rows", rows.none)):
        check(name, partial(rule, partial(ask, main), values, together, golden["tolerance"]))
    check("signature tensors", lambda: of(signatures, "tensors") and "is there")
    for name in sorted(set(signatures) - {golden["signature_name"], "tensors"}):
        check(f"signature {name}", partial(check_other, name, signatures[name], values, golden))


def by_session(bundle: str, golden: dict[str, Any], check: Check) -> None:
    """A session, fed by the names of tensors, as TensorFlow Serving does."""
    with closing(tf.compat.v1.Session(graph=tf.Graph())) as session:
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], bundle).signature_def

        def answer(name, values):
            signature = of(signatures, name)
            fetched = {output: info.name for output, info in signature.outputs.items()}
            return session.run(fetched, {signature.inputs[key].name: value for key, value in values.items()})

        def batch():
            name = golden["signature_name"]
            return compare_golden(golden, answer(name, feeds(golden, described(of(signatures, name)))))

        check("golden batch", batch)
        check("warm-up requests", partial(check_warm_up, bundle, answer))


def by_c(bundle: str, golden: dict[str, Any], check: Check) -> None:
    """A program in C, without Python, on TensorFlow's C API."""
    compiled = program.compiled()
    signature = of(served_graph(bundle).signature_def, golden["signature_name"])
    values = feeds(golden, described(signature))

    def batch():
        program.write_request("request", signature, values)
        done = subprocess.run([compiled, bundle, "request", "answer"], capture_output=True, check=False)
        if done.returncode:
            told = (done.stdout or done.stderr).decode(errors="replace").strip()
            raise RuntimeError(f"exit code {done.returncode}: {told[-500:]}")
        return compare_golden(golden, program.read_answer("answer", signature))

    check("golden batch", batch)


WAYS = {"load": by_load, "session": by_session, "c": by_c}


def _imports():
    found = [name for name in OUTSIDERS if sys.modules.get(name)]
    if found:
        raise AssertionError(f"{', '.join(found)} had been imported when the bundle was loaded")
    return f"TensorFlow {tf.__version__} alone, neither mmkeras nor Keras"
