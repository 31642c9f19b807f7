"""The nearest of many vectors of unit length. An index is a function of `(queries, space)` and k to `(queries, k)`."""

from collections.abc import Callable

import numpy as np
from sklearn.neighbors import NearestNeighbors

from mmkeras.errors import InputError

Search = Callable[[np.ndarray, int], np.ndarray]

LINKS, EFFORT = 32, 128  # of the graph: neighbours of each item, and candidates that are kept while it is built


def exact(vectors: np.ndarray) -> Search:
    """Every item is compared with the query."""
    index = NearestNeighbors(metric="cosine", algorithm="brute").fit(vectors)
    return lambda queries, k: index.kneighbors(queries, k, return_distance=False)


def approximate(vectors: np.ndarray) -> Search:
    """A graph of neighbours finds almost all of the nearest (HNSW: Malkov and Yashunin, 2018).

    By faiss (Douze et al., 2024). Raises `InputError` where it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            "retrieve: neighbours='approximate' needs faiss, which is not installed: "
            'pip install "mmkeras[retrieval]"; neighbours="exact" needs nothing'
        ) from error
    index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EFFORT
    index.add(vectors)

    def search(queries, k):
        found = index.search(queries, k, params=faiss.SearchParametersHNSW(efSearch=max(EFFORT, 2 * k)))[1]
        missed = np.flatnonzero((found < 0).any(axis=1))  # the graph found fewer
        if len(missed):
            found[missed] = exact(vectors)(queries[missed], k)
        return found

    return search


NEIGHBOURS = {"exact": exact, "approximate": approximate}
