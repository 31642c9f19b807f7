"""Scores of an order of items: recall, precision, rank and average precision of each query."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse

BLOCK = 2**20  # pairs of a query and an item at a time: some 40 MB
RESAMPLES = 1000


def per_query(
    queries: np.ndarray,
    items: np.ndarray,
    asked: sparse.csr_array,
    given: sparse.csr_array,
    ks: Sequence[int],
    *,
    own: bool = False,
) -> pd.DataFrame:
    """The scores of every query that has a right item.

    Args:
        queries, items: `(queries, space)` and `(items, dim)` float32, of unit length.
        asked, given: `(queries, values)` and `(items, values)` sparse; an item is right where both have a value.
        ks: list of int.
        own: whether queries and items are the same; each query then leaves itself out.

    Returns:
        DataFrame with a row for each of these queries: "R@k", "precision@k", "median rank" (its first right item's)
        and "mAP" (its average precision). Among equally similar items wrong ones come first.

    >>> from scipy.sparse import csr_array
    >>> items = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    >>> per_query(items[:1], items, csr_array([[1]]), csr_array([[0], [1], [1]]), [1, 2]).iloc[0].round(2).to_dict()
    {'R@1': 0.0, 'R@2': 1.0, 'precision@1': 0.0, 'precision@2': 0.5, 'median rank': 2.0, 'mAP': 0.58}
    """
    given, count = given.T.tocsr(), len(items) - own
    size = max(1, BLOCK // len(items))
    found = [np.empty((0, 2 * len(ks) + 2))]
    for start in range(0, len(queries), size):
        block = slice(start, start + size)
        right = (asked[block] @ given).toarray() > 0
        key = similarity(queries[block], items).astype(np.float64)
        if own:
            place = np.arange(len(key))
            right[place, start + place], key[place, start + place] = False, -np.inf
        some = right.any(axis=1)
        found.append(_of_order(key[some], right[some], ks, count))
    names = [*(f"R@{k}" for k in ks), *(f"precision@{k}" for k in ks), "median rank", "mAP"]
    return pd.DataFrame(np.concatenate(found), columns=names)


def _of_order(key, right, ks, count):
    """The scores `(queries, 2 * ks + 2)` of items in the order of their keys `(queries, items)` float64."""
    # a right item goes after all that are equal in float32, and before all others
    order = np.argsort(-np.where(right, np.nextafter(key, -2), key), axis=1)
    right = np.take_along_axis(right, order, axis=1)
    hits = np.cumsum(right, axis=1)
    first = right.argmax(axis=1) + 1
    average = (hits / np.arange(1, right.shape[1] + 1) * right).sum(axis=1) / hits[:, -1]
    within = [min(k, count) for k in ks]
    return np.stack([*(first <= k for k in ks), *(hits[:, k - 1] / k for k in within), first, average], axis=1)


def similarity(queries: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Cosines `(queries, items)` float32 of vectors of unit length, by way of float64, so that equal ones are equal."""
    return (queries.astype(np.float64) @ items.T.astype(np.float64)).astype(np.float32)


def similarity_of_pairs(queries: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The same of as many queries as items, one by one: `(n,)` float32."""
    return np.einsum("ns,ns->n", queries, items, dtype=np.float64).astype(np.float32)


def summary(found: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The mean of every score over the queries (of the rank the median), with its 95 % bootstrap interval.

    Args:
        found: DataFrame of `per_query`.
        seed: of the resampling.

    Returns:
        DataFrame by score: "score", "low", "high".
    """
    values, random = found.to_numpy(), np.random.default_rng(seed)
    place = found.columns.get_loc("median rank")

    def score(values):
        means = values.mean(axis=0)
        means[place] = np.median(values[:, place])
        return means

    drawn = [score(values[random.integers(len(values), size=len(values))]) for _ in range(RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    table = {"score": score(values), "low": low, "high": high}
    return pd.DataFrame(table, index=found.columns.rename("measure"))
