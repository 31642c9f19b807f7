"""Records in a shared space, ready for search, scores and figures."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import pandas as pd

from mmkeras.checks import check_whole
from mmkeras.errors import InputError, shown, unknown
from mmkeras.pipeline import readable
from mmkeras.records import Records, read
from mmkeras.retrieval import figures, measures
from mmkeras.retrieval.items import Items, embed, find_items, shares
from mmkeras.retrieval.neighbours import Search
from mmkeras.retrieval.space_map import draw_map
from mmkeras.schema import Schema


@dataclass(frozen=True, eq=False, repr=False)
class Retrieval:
    """Records in a shared space, ready for search.

    An item is a distinct value of an input: a picture, a sentence. Even if many rows have it, it is embedded once and
    found once. Its row is the first that has it; rows in which an optional input is missing have no item of it.

    Attributes:
        records: `Records`, the rows that can be read.
        items: dict of input name -> `Items`: which item each row has, and the first row of each item.
        vectors: dict of input name -> `(items, dim)` float32, of unit length.
        encoders: dict of input name -> `keras.Model`.
        neighbours: dict of input name -> function of `(queries, dim)` and k to the nearest items, `(queries, k)`.
        batch_size: values at a time.
    """

    records: Records
    items: dict[str, Items]
    vectors: dict[str, np.ndarray]
    encoders: dict[str, keras.Model]
    neighbours: dict[str, Search] = field(repr=False)
    batch_size: int = 256

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(vectors):,} of {name!r}" for name, vectors in self.vectors.items())
        return f"<Retrieval {self.records.name}: items: {counts}>"

    def query(
        self, by: str | Mapping[str, Sequence], find: str, records: Records | None = None, *, k: int = 10
    ) -> pd.DataFrame:
        """The items most similar to each query.

        Args:
            by: name of the input to search with; or a dict of one name -> list of values as in a table (paths of files,
                sentences), as `space.query({"image": ["7.png"]}, find="audio")`.
            find: name of the input to find; may be the same.
            records: `Records` whose values are the queries; None: those in the index. Then, if `by` and `find` are the
                same, the query itself is left out.
            k: how many items.

        Returns:
            DataFrame, a row for each distinct value of `by` and item found: "query" (the query's row in the table, or
            its place in a list), "rank" (from 1), "row" (the first row that has the item), "value" (its cell, a file or
            sentence) and "similarity" (cosine, -1 to 1). Equally similar items come in the table's order; if there are
            more than `k` of them, any of them may be found.

        Raises:
            InputError: an unknown input, a value that cannot be read, records of another schema.
        """
        check_whole(k, "k", "query: ")
        self._check("query: find: ", find)
        name, records = self._raw(by, records) if isinstance(by, Mapping) else (by, records)
        self._check("query: by: ", name)
        if records is None:
            asked, vectors = self.items[name], self.vectors[name]
        else:
            asked, vectors = self._embedded(name, records)
        number, found, similarity = self._nearest(vectors, find, k, own=records is None and name == find)
        rank = pd.Series(number).groupby(number).cumcount() + 1
        rows = {"query": asked.row(number), "rank": rank, "row": self.items[find].row(found)}
        return pd.DataFrame(rows | {"value": self.items[find].value(found), "similarity": similarity})

    def scores(
        self,
        by: str,
        find: str,
        relevant: str | None = None,
        *,
        k: int | Collection[int] = (1, 5, 10),
        seed: int = 0,
    ) -> pd.DataFrame:
        """How well one modality finds another: every item of `by` is a query for all items of `find`.

        The right items for a query are those of its own rows (`relevant=None`), or those that have a value of
        `relevant` in common with it. If `find` is the same as `by`, the query itself is left out. Queries without a
        right item are left out of all scores.

        - R@k: share of queries with at least one right item among the first k (Karpathy and Fei-Fei, 2015).
        - precision@k: share of right items among the first k (or among all, if there are fewer), its mean.
        - median rank: of the first right item of a query, from 1.
        - mAP: mean over the queries of their average precision, the mean of the precision at the rank of each right
          item (Manning, Raghavan and Schuetze, 2008).

        Among equally similar items wrong ones come first: a space that is one point gets the worst scores. All
        similarities are computed, with any `neighbours`, some queries at a time.

        Args:
            by: name of the input to search with.
            find: name of the input to find.
            relevant: name of a target, or of a column of the table; an item that several rows share has the values of
                all of them. One common label of `Labels` is enough. Empty cells have nothing in common.
            k: of R@k and precision@k.
            seed: of the intervals.

        Returns:
            DataFrame with a row for each score, by its name: "score", "low" and "high" (its 95 % interval by the
            percentiles of 1,000 bootstrap samples of the queries), "queries" and "items".

        Raises:
            InputError: an unknown input, target or column; no query with a right item; `find` the same as `by` without
                `relevant`.
        """
        for role, name in (("by", by), ("find", find)):
            self._check(f"scores: {role}: ", name)
        ks = [check_whole(one, "k", "scores: ") for one in (k if isinstance(k, Collection) else [k])]
        if not ks or len(set(ks)) < len(ks):
            raise InputError(f"scores: expected k to be different whole numbers, received {shown(k)}")
        check_whole(seed, "seed", "scores: ", least=0)
        if by == find and relevant is None:
            raise InputError(f"scores: {by!r} by itself: expected relevant, as a query is its own row's only item")
        asked, given = (shares(self.items[name], relevant, "scores: ") for name in (by, find))
        found = measures.per_query(self.vectors[by], self.vectors[find], asked, given, ks, own=by == find)
        if not len(found):
            same = "row" if relevant is None else f"value of {relevant!r}"
            raise InputError(f"scores: expected items of {by!r} and {find!r} with the same {same}, found none")
        return measures.summary(found, seed).assign(queries=len(found), items=len(self.items[find]))

    def figure(
        self, by: str, find: str, rows: Sequence[Any] | None = None, *, k: int = 8, relevant: str | None = None
    ) -> Any:
        """A contact sheet: each query at the left, to its right the items found, the most similar first.

        Args:
            by: name of the input to search with.
            find: name of the input to find.
            rows: the queries' rows in the table, as in "query" of `query`; None: one for each value of `relevant`, at
                most ten; without `relevant` six at even distances.
            k: how many items.
            relevant: as in `scores`: right items for the query get a green frame, others a red one. None: items of the
                query's own rows get a green frame, others none.

        Returns:
            matplotlib Figure.

        Raises:
            InputError: an unknown input, column or row; matplotlib is not installed.
        """
        check_whole(k, "k", "figure: ")
        for role, name in (("by", by), ("find", find)):
            self._check(f"figure: {role}: ", name)
        asked, given = self.items[by], self.items[find]
        queries = figures.some_items(asked, relevant) if rows is None else asked.of_rows(rows, "figure: ")
        pairs = self._nearest(self.vectors[by], find, k, own=by == find, queries=queries)
        return figures.sheet(asked, given, queries, pairs, relevant)

    def map(
        self,
        names: str | Sequence[str] | None = None,
        *,
        color: str,
        method: str = "pca",
        limit: int = 1000,
        seed: int = 0,
    ) -> Any:
        """A picture of the space in two dimensions: a point for each item, its marker the modality.

        Args:
            names: list of inputs; None: all.
            color: name of a target, or of a column of the table; items of several values are grey.
            method: "pca": the two directions of the largest variance; "tsne": neighbours stay neighbours, distances
                mean little (van der Maaten and Hinton, 2008).
            limit: most items of each modality, at even distances in the table.
            seed: of "tsne".

        Returns:
            matplotlib Figure.

        Raises:
            InputError: an unknown input, column or method; matplotlib is not installed.
        """
        names = list(self.items) if names is None else [names] if isinstance(names, str) else list(names)
        for name in names:
            self._check("map: ", name)
        check_whole(limit, "limit", "map: ")
        check_whole(seed, "seed", "map: ", least=0)
        places = {name: _spread(len(self.vectors[name]), limit) for name in names}
        vectors = {name: self.vectors[name][place] for name, place in places.items()}
        return draw_map({name: self.items[name] for name in names}, places, vectors, color, method, seed)

    def _check(self, where, name):
        if not isinstance(name, str) or name not in self.items:
            raise unknown("input", name, self.items, where=where)

    def _raw(self, by, records):
        """The name and the `Records` of a dict of one name -> list of values."""
        if records is not None or len(by) != 1:
            raise InputError(f"query: expected a dict of one input and no records, received {', '.join(map(str, by))}")
        ((name, values),) = by.items()
        self._check("query: by: ", name)
        schema = self.records.schema
        columns = list(schema.columns(name))
        if isinstance(values, str) or not np.iterable(values) or not len(values):
            raise InputError(f"query: expected a list of at least one value of {name!r}, received {shown(values)}")
        table = pd.DataFrame(list(values), columns=columns)
        alone = Schema({name: replace(schema.inputs[name], optional=False)}, {})
        return name, read(table, alone, targets=False)

    def _embedded(self, by, records):
        records = readable(records)
        mine, theirs = self.records.schema.inputs[by], records.schema.inputs.get(by)
        if theirs is None or replace(theirs, optional=mine.optional) != mine:
            raise InputError(f"query: expected records with {by!r}: {mine!r}, received {shown(theirs)}")
        asked = find_items(records, by)
        return asked, embed(asked, self.encoders[by], self.batch_size)

    def _nearest(self, vectors, find, k, *, own, queries=None):
        """The number of each query, the items found and their similarities, the most similar first.

        `own`: whether the queries are the items themselves; a query then does not find itself.
        """
        queries = np.arange(len(vectors)) if queries is None else queries
        k = min(k + own, len(self.vectors[find]))
        found = self.neighbours[find](vectors[queries], k)
        number = np.repeat(np.arange(len(queries)), k)
        found = found.reshape(-1)
        if own:
            kept = found != queries[number]
            number, found = number[kept], found[kept]
        similarity = measures.similarity_of_pairs(vectors[queries[number]], self.vectors[find][found])
        order = np.lexsort([found, -similarity, number])
        order = order[pd.Series(number[order]).groupby(number[order]).cumcount().to_numpy() < k - own]
        return number[order], found[order], similarity[order]


def _spread(count, limit):
    """At most `limit` of the numbers below `count`, at even distances."""
    return np.linspace(0, count - 1, min(count, limit)).round().astype(int)
