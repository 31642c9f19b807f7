"""Finding by likeness: every value of every modality is a vector in one space, and any of them finds any other."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral

import keras
import numpy as np
import pandas as pd

from mmkeras.alignment import encoder
from mmkeras.errors import InputError, unknown
from mmkeras.pipeline import readable
from mmkeras.records import Records, read
from mmkeras.retrieval import figures, measures
from mmkeras.retrieval.items import Items, embed, find_items, shares
from mmkeras.retrieval.matching import negative_pairs
from mmkeras.retrieval.neighbours import NEIGHBOURS
from mmkeras.retrieval.space_map import draw_map
from mmkeras.schema import Schema

__all__ = ["Retrieval", "negative_pairs", "retrieve"]


@dataclass(frozen=True, eq=False, repr=False)
class Retrieval:
    """Records in a shared space, ready to be searched.

    An item is a distinct value of an input: a picture, a sentence. However many rows have it, it is embedded once and
    found once. Its row is the first that has it; rows in which an optional input is missing have no item of it.

    Attributes:
        records: `Records`, the rows that can be read.
        items: dict of input name -> `Items`: which item each row has, and the first row of each item.
        vectors: dict of input name -> `(items, dim)` float32, of unit length.
        encoders: dict of input name -> `keras.Model`.
    """

    records: Records
    items: dict[str, Items]
    vectors: dict[str, np.ndarray]
    encoders: dict[str, keras.Model]
    neighbours: dict = field(repr=False)  # of input name -> function of vectors and k
    batch_size: int = 256

    def __repr__(self):
        counts = ", ".join(f"{len(vectors):,} of {name!r}" for name, vectors in self.vectors.items())
        return f"<Retrieval {self.records.name}: items: {counts}>"

    def query(self, by, find, records=None, *, k=10):
        """The items most similar to each query.

        Args:
            by: name of the input to search with; or a dict of one name -> list of values as they stand in a table
                (paths of files, sentences), as `space.query({"image": ["7.png"]}, find="audio")`.
            find: name of the input to find; may be the same.
            records: `Records` whose values are the queries; None: those in the index, and `by` the same as `find` then
                leaves out the query itself.
            k: how many items.

        Returns:
            DataFrame, a row for each distinct value of `by` and item found: "query" (the query's row in the table, its
            place in a list), "rank" (from 1), "row" (the first row that has the item), "value" (its cell, a file or
            sentence) and "similarity" (cosine, -1 to 1). Items that are equally similar come in the table's order;
            where more than `k` are, which of them are found is left to chance.

        Raises:
            InputError: an unknown input, a value that cannot be read, records of another schema.
        """
        _whole("query: expected k", k)
        self._check("query: find: ", find)
        if isinstance(by, Mapping):
            by, records = self._raw(by, records)
        self._check("query: by: ", by)
        if records is None:
            asked, vectors = self.items[by], self.vectors[by]
        else:
            asked, vectors = self._embedded(by, records)
        number, found, similarity = self._nearest(vectors, find, k, own=records is None and by == find)
        rank = pd.Series(number).groupby(number).cumcount() + 1
        rows = {"query": asked.row(number), "rank": rank, "row": self.items[find].row(found)}
        return pd.DataFrame(rows | {"value": self.items[find].value(found), "similarity": similarity})

    def scores(self, by, find, relevant=None, *, k=(1, 5, 10), seed=0):
        """How well one modality finds another: every item of `by` is a query for all items of `find`.

        Which items are right for a query: those of its own rows (`relevant=None`), or those that have a value of
        `relevant` in common with it. With `find` the same as `by` the query itself is left out. Queries for which no
        item is right are left out of all scores.

        - R@k: share of queries with at least one right item among the first k (Karpathy and Fei-Fei, 2015).
        - precision@k: share of right items among the first k (or among all, if there are fewer), its mean.
        - median rank: of the first right item of a query, from 1.
        - mAP: mean over the queries of their average precision, the mean of the precision at the rank of each right
          item (Manning, Raghavan and Schuetze, 2008).

        Among items that are equally similar wrong ones come first: a space that is one point gets the worst scores. All
        similarities are worked out, whatever `neighbours` was, some queries at a time.

        Args:
            by: name of the input to search with.
            find: name of the input to find.
            relevant: name of a target, or of a column of the table; an item that several rows share has the values of
                all of them, and of `Labels` one in common suffices. Empty cells have nothing in common.
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
        k = [k] if isinstance(k, Integral) else list(k)
        if not k or len(set(k)) < len(k):
            raise InputError(f"scores: expected k to be different whole numbers, received {k}")
        for one in k:
            _whole("scores: expected k", one)
        if by == find and relevant is None:
            raise InputError(f"scores: {by!r} by itself: expected relevant, as a query is its own row's only item")
        asked, given = (shares(self.items[name], relevant, "scores: ") for name in (by, find))
        found = measures.per_query(self.vectors[by], self.vectors[find], asked, given, k, own=by == find)
        if not len(found):
            same = "row" if relevant is None else f"value of {relevant!r}"
            raise InputError(f"scores: expected items of {by!r} and {find!r} with the same {same}, found none")
        return measures.summary(found, seed).assign(queries=len(found), items=len(self.items[find]))

    def figure(self, by, find, rows=None, *, k=8, relevant=None):
        """A contact sheet: each query at the left, the items found to the right of it, the most similar first.

        Args:
            by: name of the input to search with.
            find: name of the input to find.
            rows: the queries' rows in the table, as in "query" of `query`; None: one for each value of `relevant`, ten
                at most, or six at even distances.
            k: how many items.
            relevant: as in `scores`: items that are right for the query get a green frame, others a red one. None:
                those of the query's own rows get a green one, others none.

        Returns:
            matplotlib Figure.

        Raises:
            InputError: an unknown input, column or row; matplotlib is not installed.
        """
        _whole("figure: expected k", k)
        for role, name in (("by", by), ("find", find)):
            self._check(f"figure: {role}: ", name)
        asked, given = self.items[by], self.items[find]
        queries = figures.some_items(asked, relevant) if rows is None else asked.of_rows(rows, "figure: ")
        pairs = self._nearest(self.vectors[by], find, k, own=by == find, queries=queries)
        return figures.sheet(asked, given, queries, pairs, relevant)

    def map(self, names=None, *, color, method="pca", limit=1000, seed=0):
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
        _whole("map: expected limit", limit)
        places = {name: _spread(len(self.vectors[name]), limit) for name in names}
        vectors = {name: self.vectors[name][place] for name, place in places.items()}
        return draw_map({name: self.items[name] for name in names}, places, vectors, color, method, seed)

    def _check(self, where, name):
        if name not in self.items:
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
            raise InputError(f"query: expected a list of at least one value of {name!r}, received {values!r}")
        table = pd.DataFrame(list(values), columns=columns)
        alone = Schema({name: replace(schema.inputs[name], optional=False)}, {})
        return name, read(table, alone, targets=False)

    def _embedded(self, by, records):
        records = readable(records)
        mine, theirs = self.records.schema.inputs[by], records.schema.inputs.get(by)
        if theirs is None or replace(theirs, optional=mine.optional) != mine:
            raise InputError(f"query: expected records with {by!r}: {mine!r}, received {theirs!r}")
        asked = find_items(records, by)
        return asked, embed(asked, self.encoders[by], self.batch_size)

    def _nearest(self, vectors, find, k, *, own, queries=None):
        """Of each of the queries: its number, the items found and their similarities, the most similar first.

        `own`: whether the queries are the items themselves, which are not to be found.
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


def retrieve(model, records, inputs=None, *, batch_size=256, neighbours="exact"):
    """Embed records in the shared space of a model, and index them to be searched.

    Every distinct value of an input goes through its encoder once, however many rows share it.

    Args:
        model: `keras.Model` of `mk.build(..., align=...)`; or a dict of input name -> `keras.Model`, encoders of one's
            own of that input (`<name>` and, if it is padded, `<name>_length`) that give `(batch, dim)`.
        records: `Records` with a fitted schema.
        inputs: list of the inputs wanted; None: all that the model has.
        batch_size: values at a time.
        neighbours: "exact": every item is compared (scikit-learn); "approximate": a graph leads to almost all of the
            nearest (HNSW: Malkov and Yashunin, 2018), for hundreds of thousands of items; needs faiss.

    Returns:
        `Retrieval`.

    Raises:
        InputError: an unknown input, a model without a shared space, encoders whose vectors cannot be compared, an
            input that no row has, a file that cannot be decoded, faiss is not installed.
    """
    _whole("retrieve: expected batch_size", batch_size)
    if not isinstance(neighbours, str) or neighbours not in NEIGHBOURS:
        raise unknown("value of neighbours", neighbours, NEIGHBOURS, where="retrieve: ")
    records = readable(records)
    own, known = isinstance(model, Mapping), list(records.schema.inputs)
    names = list(model if own else known) if inputs is None else inputs
    if isinstance(names, str) or not names:
        raise InputError(f"retrieve: expected inputs to be a list of at least one name, received {names!r}")
    known = [name for name in known if not own or name in model]
    for name in names:
        if name not in known:
            raise unknown("input", name, known, where="retrieve: ")
    encoders = {name: model[name] if own else encoder(model, records.schema, name) for name in names}
    items = {name: find_items(records, name) for name in names}
    vectors = {name: embed(items[name], encoders[name], batch_size) for name in names}
    widths = {name: vector.shape[1] for name, vector in vectors.items()}
    if len(set(widths.values())) > 1:
        raise InputError(f"retrieve: expected encoders into one space, received vectors of the widths {widths}")
    search = {name: NEIGHBOURS[neighbours](vector) for name, vector in vectors.items()}
    return Retrieval(records, items, vectors, encoders, search, batch_size)


def _whole(what, value):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise InputError(f"{what} to be a whole number above 0, received {value!r}")


def _spread(count, limit):
    """At most `limit` of the numbers below `count`, at even distances."""
    return np.linspace(0, count - 1, min(count, limit)).round().astype(int)
