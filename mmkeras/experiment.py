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
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmkeras.errors import InputError, shown, unknown
from mmkeras.records import Splits, read
from mmkeras.records.manifest import join
from mmkeras.schema import Schema

KEYS = ("data", "split", "inputs", "targets", "read", "tune")


@dataclass(frozen=True)
class Experiment:
    """The content of the file: `Splits`, and the options of `mk.tune`."""

    data: Splits
    tune: dict[str, Any]


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-4 is a number, as in Python; PyYAML wants 1.0e-4."""


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
    path = Path(path)
    content = _content(path)
    where = f"{path.name}: "
    for key in content:
        if key not in KEYS:
            raise unknown("key", key, KEYS, where)
    for key, kind in (("data", str), ("inputs", dict), ("targets", dict), ("read", dict), ("tune", dict)):
        value = content.get(key)
        if value is None and key in ("data", "inputs", "targets"):
            raise InputError(f"{where}expected a key {key!r}, received {', '.join(content) or 'none'}")
        if value is not None and not isinstance(value, kind):
            expected = "a path" if kind is str else "keys and values"
            raise InputError(f"{where}expected {key} to be {expected}, received {shown(value)}")
    options = _options(content, "read", read, where)
    schema = Schema.from_options({role: content[role] for role in ("inputs", "targets")})
    table = content["data"]
    records = read(join(str(path.parent), table), schema, **options)
    tune = dict(content.get("tune") or {})
    if "directory" in tune:
        tune["directory"] = path.parent / tune["directory"]
    if isinstance(tune.get("space"), dict):
        tune["space"] = {name: _domain(domain) for name, domain in tune["space"].items()}
    return Experiment(records.split(content.get("split", "split")), tune)


def _content(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"experiment: cannot read {str(path)!r}: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path.name}: expected YAML: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path.name}: expected keys and values, received {shown(content)}")
    return content


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
