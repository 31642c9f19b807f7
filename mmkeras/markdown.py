"""Tables in Markdown, for model cards and reports."""

from collections.abc import Collection, Iterable, Sequence


def table(heads: Sequence[object], rows: Iterable[Sequence[object]], right: Collection[int] = ()) -> str:
    """Rows below their heads; the columns at the places `right` are aligned to the right.

    >>> print(table(["name", "score"], [("a|b", 0.5)], right=[1]))
    | name | score |
    | --- | --: |
    | a\\|b | 0.5 |
    """
    line = ["--:" if place in right else "---" for place in range(len(heads))]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in [heads, line, *rows])


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
