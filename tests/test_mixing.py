"""Batches in which every source has its share."""

import numpy as np
import pandas as pd
import pytest

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.pipeline.mixing import parts_of

COUNTED = mk.Schema(
    inputs={"n": mk.Text(1, [str(n) for n in range(40)])}, targets={"n_too": mk.Category([str(n) for n in range(40)])}
)


@pytest.fixture(scope="module")
def counted():
    """Row n says n; the first 6 rows are of "few", the others of "many"."""
    n = np.arange(40)
    return mk.read(pd.DataFrame({"n": n, "n_too": n, "source": np.where(n < 6, "few", "many")}), COUNTED)


def epoch(records, size, shares, **options):
    data = mk.batches(records, size, training=True, mix={"source": shares}, **options)
    found = [batch[1].numpy().tolist() for batch in data]
    assert len(found) == data.cardinality()
    return found


@pytest.mark.parametrize(
    ("size", "shares", "in_batch", "steps"),
    [
        (8, {"few": 1, "many": 3}, (2, 6), 6),
        (8, {"few": 1, "many": 1}, (4, 4), 9),
        (10, {"many": 2, "few": 1}, (3, 7), 5),
        (7, {"few": 6, "many": 1}, (6, 1), 34),
    ],
)
def test_every_batch_is_full_and_holds_the_shares(counted, size, shares, in_batch, steps):
    found = epoch(counted, size, shares)
    few = [[row for row in batch if row < 6] for batch in found]
    assert {(len(part), len(batch) - len(part)) for part, batch in zip(few, found, strict=True)} == {in_batch}
    assert len(found) == steps
    assert {row for batch in found for row in batch} == set(range(40))
    rows = [row for batch in few for row in batch]
    rounds = [rows[start : start + 6] for start in range(0, len(rows) - 5, 6)]
    assert all(sorted(one) == list(range(6)) for one in rounds)  # none comes again before all have been seen
    assert len({tuple(one) for one in rounds}) > 1
    many = [row for batch in found for row in batch if row >= 6]
    assert len(set(many[:34])) == 34


def test_mixed_batches_are_a_matter_of_the_seed(counted):
    shares = {"few": 1, "many": 3}
    data = mk.batches(counted, 8, training=True, mix={"source": shares})
    first, second = ([batch[1].numpy().tolist() for batch in data] for _ in range(2))
    assert first != second
    assert first == epoch(counted, 8, shares)
    assert first != epoch(counted, 8, shares, seed=1)


def test_sources_of_one_size_are_drawn_independently(counted):
    found = epoch(counted.take(np.r_[:6, 6:12]), 2, {"few": 1, "many": 1})
    few, many = ([row for batch in found for row in batch if (row < 6) == small] for small in (True, False))
    assert sorted(few) == list(range(6))
    assert few != [row - 6 for row in many]


def test_largest_remainder():
    assert parts_of(10, [1, 1, 1]) == [4, 3, 3]
    assert parts_of(128, [0.1, 0.2, 0.7]) == [13, 26, 89]
    assert parts_of(3, [1, 2]) == [1, 2]


@pytest.mark.parametrize(
    ("mix", "options", "message"),
    [
        ({"sorce": {"few": 1}}, {}, "mix: unknown column 'sorce'; did you mean 'source'"),
        ({"source": {"few": 1, "mny": 1}}, {}, "mix: unknown value of 'source': 'mny'; did you mean 'many'"),
        ({"source": {"few": 1}}, {}, "mix: expected a share for every value of 'source', received none for 'many'"),
        ({"source": {"few": 0, "many": 1}}, {}, "mix: expected the share of 'few' to be a number above 0, received 0"),
        (
            {"source": {"few": "1", "many": 1}},
            {},
            "mix: expected the share of 'few' to be a number above 0, received '1'",
        ),
        (
            {"source": {"few": 1, "many": 99}},
            {},
            "expected a batch_size with a row for each source, 8 has none for 'few'",
        ),
        ({"few": 1, "many": 3}, {}, "mix: expected {column: {value: share, ...}}, received {'few': 1"),
        ({"source": {"few": 1, "many": 1}}, {"training": False}, "mix with Records, training=True .*training=False"),
        ({"source": {"few": 1, "many": 1}}, {"group_by": "n"}, "no group_by, received .*group_by='n'"),
    ],
)
def test_mixes_that_cannot_be(counted, mix, options, message):
    with pytest.raises(InputError, match=message.replace("{", r"\{")):
        mk.batches(counted, 8, mix=mix, **{"training": True, **options})


def test_shards_are_not_mixed(counted, tmp_path):
    shards = mk.write_shards(counted, tmp_path, shards=1)
    with pytest.raises(InputError, match=r"expected mix with Records, .*received Shards"):
        mk.batches(shards, 8, training=True, mix={"source": {"few": 1, "many": 1}})
