"""An experiment in a YAML file: the table, its schema and what is to be searched, for `mmkeras tune`.

data: manifest.csv                  # beside this file
split: split                        # its column, or {train: 0.8, val: 0.1, test: 0.1}
inputs:
  image: {kind: Image, height: 8, width: 8, channels: 1}
  question: {kind: Text, length: 16}
targets:
  answer: {kind: Category}
read: {on_bad: drop}                # options of mk.read
tune:                               # options of mk.tune
  trials: 30
  epochs: 10
  directory: tuning                 # beside this file
  space:
    fusion: [concat, gated]
    width: [64, 128]
    learning_rate: {low: 0.0003, high: 0.003}
"""

import inspect
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmkeras.disk import check_path, read_text
from mmkeras.errors import InputError, shown, unknown
from mmkeras.records import Splits, read
from mmkeras.records.manifest import join
from mmkeras.schema import Schema

MOST = 100_000  # values in the file
KEYS = ("data", "split", "inputs", "targets", "read", "tune")


@dataclass(frozen=True)
class Experiment:
    """The content of the file: `Splits`, and the options of `mk.tune`."""

    data: Splits
    tune: dict[str, Any]


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-4 is a number, as in Python (PyYAML wants 1.0e-4), and no key stands twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """As PyYAML's, without a key twice."""
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+0123456789."))


def load_experiment(path: str | os.PathLike[str]) -> Experiment:
    """Read an experiment, and the table that it names.

    Args:
        path: of the YAML file, to which the paths in it are relative.

    Returns:
        `Experiment`.

    Raises:
        InputError: a file that cannot be read, a missing or unknown key, a table that does not fit.
    """
    path = check_path(path, "experiment: ")
    content = _content(path)
    where = f"{path.name}: "
    for key in content:
        if not isinstance(key, str) or key not in KEYS:
            raise unknown("key", key, KEYS, where)
    for key, kind in (("data", str), ("inputs", dict), ("targets", dict), ("read", dict), ("tune", dict)):
        value = content.get(key)
        if value is None and key in ("data", "inputs", "targets"):
            raise InputError(f"{where}expected a key {key!r}, received {', '.join(content) or 'none'}")
        if value is not None and not isinstance(value, kind):
            expected = "a path" if kind is str else "keys and values"
            raise InputError(f"{where}expected {key} to be {expected}, received {shown(value)}")
    options = _options(content, "read", read, where)
    tune = dict(content.get("tune") or {})
    if "directory" in tune:
        tune["directory"] = path.parent / check_path(tune["directory"], f"{where}directory: ")
    try:
        schema = Schema.from_options({role: content[role] for role in ("inputs", "targets")})
        records = read(join(str(path.parent), content["data"]), schema, **options)
        splits = records.split(content.get("split", "split"))
    except InputError as error:
        raise InputError(f"{where}{error}") from error
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:  # a value of another type
        raise InputError(f"{where}expected values as mk.read and mk.Schema take them ({error})") from error
    if isinstance(tune.get("space"), dict):
        tune["space"] = {name: _domain(domain) for name, domain in tune["space"].items()}
    return Experiment(splits, tune)


def _content(path: Path) -> dict[str, Any]:
    text = read_text(path, "experiment: ", 2**24)
    loader = None
    try:
        loader = _Loader(text)
        content = loader.get_single_data()
    except yaml.YAMLError as error:
        raise InputError(f"{path.name}: expected YAML{_where(error, text)}: {_short(error)}") from error
    except RecursionError as error:
        raise InputError(f"{path.name}: expected YAML, received too many lists and keys in each other") from error
    except (ValueError, TypeError, LookupError, ArithmeticError) as error:  # a date that is none, a key that is a list
        line = f", line {loader.line + 1}" if loader else ""
        raise InputError(f"{path.name}: expected YAML of plain values{line}: {error}") from error
    finally:
        if loader is not None:
            loader.dispose()
    if _size(content, {}) > MOST:
        raise InputError(f"{path.name}: expected at most {MOST:,} values, received more by aliases (*name)")
    if not isinstance(content, dict):
        raise InputError(f"{path.name}: expected keys and values, received {shown(content)}")
    return content


def _size(content: Any, known: dict[int, float]) -> float:
    """How many values there are, those behind aliases each time; infinitely many where one is within itself."""
    if not isinstance(content, dict | list | tuple | set):
        return 1
    if id(content) not in known:
        known[id(content)] = math.inf
        parts = [*content, *content.values()] if isinstance(content, dict) else content
        known[id(content)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(content)]


def _where(error: yaml.YAMLError, text: str) -> str:
    if isinstance(error, yaml.reader.ReaderError):  # a character that YAML does not have
        return f", line {text.count(chr(10), 0, error.position) + 1}"
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""


def _short(error: yaml.YAMLError) -> str:
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return str(said).strip().splitlines()[0]


def _options(content: dict[str, Any], key: str, function: Callable[..., Any], where: str) -> dict[str, Any]:
    """The options of a function under a key, all but its table and schema."""
    options, known = dict(content.get(key) or {}), [*inspect.signature(function).parameters][2:]
    for option in options:
        if option not in known:
            raise unknown(f"option of {key}:", option, known, where)
    return options


def _domain(domain: Any) -> Any:
    """{low: 0.1, high: 1} as a tuple, as YAML has none."""
    return (domain["low"], domain["high"]) if isinstance(domain, dict) and set(domain) == {"low", "high"} else domain
