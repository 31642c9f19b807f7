"""How checks are made and written down."""

import json
from functools import partial
from pathlib import Path

from . import Skip
from .graph import check_ops
from .ways import WAYS


def main(way: str, bundle: str, results: str) -> None:
    """Replay in one way: "load", "session" or "c"."""
    golden = json.loads((Path(bundle) / "assets.extra" / "golden.json").read_text(encoding="utf-8"))
    with open(results, "a", encoding="utf-8") as file:
        check = partial(_check, file, way)
        if check("ops", partial(check_ops, bundle)) != "passed":
            return  # before anything of the graph is loaded
        check("", partial(WAYS[way], bundle, golden, check))


def _check(file, way, name, function):
    """Make one check, write its result and return its outcome.

    The function returns the words; None: nothing is written.
    """
    try:
        outcome, words = "passed", function()
    except Skip as reason:
        outcome, words = "skipped", str(reason)
    except Exception as error:  # any error of TensorFlow is a result of the check
        outcome, words = "failed", _in_short(error)
    if words is not None:
        title = f"{way}: {name}" if name else way
        file.write(json.dumps({"name": title, "outcome": outcome, "words": words}) + "\n")
        file.flush()
    return outcome


def _in_short(error):
    text = " ".join(str(error).split())
    if isinstance(error, AssertionError):
        return text
    text = text if len(text) <= 500 else f"{text[:200]} ... {text[-300:]}"  # TensorFlow's reason comes last
    return f"{type(error).__name__}: {text}"
