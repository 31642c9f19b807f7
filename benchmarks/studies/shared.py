"""What several studies share: digits and their towers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
from experiments import DIGIT_TOWERS
from sets import DIGIT, SPOKEN, unpacked

import mmkeras as mk

LISTEN = {"audio": {"shift": 0.04, "gain": 6}}
TURNED = {"image": {"crop": 0.1, "rotate": 10}, **LISTEN}


def digits(
    archives: Path,
    columns: dict[str, str],
    label: str = "label",
    optional: bool = False,
    edit: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
) -> mk.Splits:
    """av_digits with some of its columns, and the digit as the target "label".

    Args:
        archives: folder of the archives.
        columns: dict of input, "image" or "audio" -> column.
        label: column of the digit.
        optional: whether the digit may be missing.
        edit: function that changes the table before it is read.
    """
    kinds = {"image": DIGIT, "audio": SPOKEN}
    inputs = {name: replace(kinds[name], column=column) for name, column in columns.items()}
    target = mk.Category(classes=list("0123456789"), column=label, optional=optional)
    folder = unpacked("av_digits", archives)
    table = pd.read_csv(folder / "manifest.csv", dtype=str)
    for column in columns.values():
        table[column] = [str(folder / path) for path in table[column]]
    return mk.read(table if edit is None else edit(table), mk.Schema(inputs, {"label": target})).split("split")


def towers(*names: str) -> dict[str, dict]:
    return {name: DIGIT_TOWERS[name] for name in names}
