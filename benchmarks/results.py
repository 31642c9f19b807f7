"""RESULTS.md, from the cells that are there."""

from pathlib import Path

import repertoire_table
import transfer_table
from cells import HERE


def write(repertoire: Path = repertoire_table.OUT, transfer: Path = transfer_table.OUT) -> None:
    """Write the tables of repertoire.py and those of transfer.py.

    Args:
        repertoire, transfer: folders of their cells.
    """
    path = HERE / "RESULTS.md"
    lines = [*repertoire_table.lines(repertoire), *transfer_table.lines(transfer)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(path)
