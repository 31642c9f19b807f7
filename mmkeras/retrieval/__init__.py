"""Search by similarity: every value of every modality is a vector in one space, and any of them finds any other."""

from collections.abc import Collection, Mapping, Sequence

import keras

from mmkeras.alignment import encoder
from mmkeras.checks import check_choice, check_whole, checked_keywords
from mmkeras.errors import InputError, shown, unknown
from mmkeras.pipeline import readable
from mmkeras.records import Records
from mmkeras.retrieval.index import Retrieval
from mmkeras.retrieval.items import embed, find_items
from mmkeras.retrieval.matching import negative_pairs
from mmkeras.retrieval.neighbours import NEIGHBOURS

__all__ = ["Retrieval", "negative_pairs", "retrieve"]


@checked_keywords
def retrieve(
    model: keras.Model | Mapping[str, keras.Model],
    records: Records,
    inputs: Sequence[str] | None = None,
    *,
    batch_size: int = 256,
    neighbours: str = "exact",
) -> Retrieval:
    """Embed records in the shared space of a model, and index them for search.

    Every distinct value of an input goes through its encoder once, however many rows share it.

    Args:
        model: `keras.Model` of `mk.build(..., align=...)`; or a dict of input name -> `keras.Model`, your own encoders
            of that input (`<name>` and, if it is padded, `<name>_length`) with the output `(batch, dim)`.
        records: `Records` with a fitted schema.
        inputs: list of the inputs wanted; None: all that the model has.
        batch_size: values at a time.
        neighbours: "exact": every item is compared (scikit-learn); "approximate": a graph finds almost all of the
            nearest (HNSW: Malkov and Yashunin, 2018), for hundreds of thousands of items; needs faiss.

    Returns:
        `Retrieval`.

    Raises:
        InputError: an unknown input, a model without a shared space, encoders whose vectors cannot be compared, an
            input that no row has, a file that cannot be decoded, faiss is not installed.
    """
    check_whole(batch_size, "batch_size", "retrieve: ")
    check_choice(neighbours, "neighbours", NEIGHBOURS, "retrieve: ")
    records = readable(records)
    records.require_rows("retrieve")
    own, known = isinstance(model, Mapping), list(records.schema.inputs)
    names = list(model if own else known) if inputs is None else inputs
    if isinstance(names, str) or not isinstance(names, Collection) or not names:
        raise InputError(f"retrieve: expected inputs to be a list of at least one name, received {shown(names)}")
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
