"""Batches in which the rows of every source have their share."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmkeras.checks import check_number
from mmkeras.decode.graph import plain
from mmkeras.errors import InputError, shown, unknown
from mmkeras.records import Records
from mmkeras.records.manifest import cells

WHERE = "batches: mix: "


def sources(records: Records, mix: Mapping[str, Mapping[Any, float]], batch_size: int) -> list[tuple[np.ndarray, int]]:
    """The rows of every source, and how many of them are in each batch.

    Args:
        records: `Records` all of whose rows are readable.
        mix: as in `batches`.
        batch_size: rows in a batch.

    Returns:
        list of (positions of the rows `(rows,)` int64, count).
    """
    column, shares = _asked(mix)
    if column not in records.frame.columns:
        raise unknown("column", column, records.frame.columns, WHERE)
    values = cells(records.frame[column]).to_numpy(dtype=object)
    there = set(values)
    for value in shares:
        if value not in there:
            raise unknown(f"value of {column!r}:", value, there, WHERE)
    without = sorted(there - set(shares))
    if without:
        raise InputError(f"{WHERE}expected a share for every value of {column!r}, received none for {without[0]!r}")
    counts = parts_of(batch_size, list(shares.values()))
    if 0 in counts:
        value = list(shares)[counts.index(0)]
        raise InputError(
            f"{WHERE}expected a batch_size with a row for each source, {batch_size} has none for {value!r}"
        )
    return [(np.flatnonzero(values == value), count) for value, count in zip(shares, counts, strict=True)]


def _asked(mix):
    """The column, and dict of value -> share."""
    if not isinstance(mix, Mapping) or len(mix) != 1 or not isinstance(next(iter(mix.values())), Mapping):
        raise InputError(f"{WHERE}expected {{column: {{value: share, ...}}}}, received {shown(mix)}")
    ((column, shares),) = mix.items()
    for value, share in shares.items():
        check_number(share, f"the share of {value!r}", WHERE, least=0, above=True)
    return column, {str(value): float(share) for value, share in shares.items()}


def parts_of(count: int, shares: Sequence[float]) -> list[int]:
    """A whole number in whole parts as the shares say, by the largest remainder (Hamilton's method).

    >>> parts_of(8, [1, 3]), parts_of(32, [1, 1, 1])
    ([2, 6], [11, 11, 10])
    """
    exact = np.array(shares, float) * (count / sum(shares))
    parts = np.floor(exact).astype(int)
    parts[np.argsort(parts - exact, kind="stable")[: count - parts.sum()]] += 1
    return parts.tolist()


def mixed_rows(sources: Sequence[tuple[np.ndarray, int]], seed: int) -> tf.data.Dataset:
    """Full batches of row numbers, each with so many rows of every source, as `sources` gives them.

    An epoch ends when every row has been seen: a source that runs out before that begins again, in a new order.
    """
    steps = max(-(-len(rows) // count) for rows, count in sources)
    with tf.device("CPU"):
        numbers = [tf.constant(rows, tf.int64) for rows, _ in sources]

    def order(draw):
        drawn = []
        for place, (rows, (_, count)) in enumerate(zip(numbers, sources, strict=True)):
            rounds = -(-steps * count // len(rows))
            luck = tf.random.stateless_uniform((rounds, len(rows)), [draw, seed + place], dtype=tf.float64)
            shuffled = tf.reshape(tf.gather(rows, tf.argsort(luck)), [-1])
            drawn.append(tf.reshape(shuffled[: steps * count], (steps, count)))
        return tf.reshape(tf.concat(drawn, axis=1), [-1])

    draws = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).take(1)
    batched = draws.map(plain(order)).rebatch(sum(count for _, count in sources))
    return batched.apply(tf.data.experimental.assert_cardinality(steps))
