"""Fusions: the tokens of all modalities in, one vector out.

A fusion is a function `(tokens, *, width) -> (batch, width)` of a dict of name -> `Tokens` in schema order. It may ask
for `features`, a dict of input name -> the schema's entry, and have options of its own. A fusion of decisions gives a
dict of name -> `(batch, width)` instead: each head then answers from every vector, and the answers are averaged.

    concat           side by side, then dense layers
    multiply         product of projections
    weighted         one learned share for each modality, see `fusion_shares`
    gated            gates that look at all modalities
    film             one modality scales and shifts the features of the others
    late             a decision from each modality, averaged
    attention        self-attention over all tokens
    cross_attention  each modality asks each other one
    bottleneck       attention through a few tokens that all modalities share
    tensor           the products of all features of all modalities
    low_rank         the same with a decomposed weight
"""

from mmkeras.errors import InputError
from mmkeras.fusion import attention, products, vectors
from mmkeras.fusion.vectors import fusion_shares
from mmkeras.registry import Catalogue, arguments, choose

__all__ = ["FUSIONS", "fuse", "fusion_shares", "register"]

FUSIONS = Catalogue(
    "fusion",
    {
        "concat": vectors.concat,
        "multiply": products.multiply,
        "weighted": vectors.weighted,
        "gated": vectors.gated,
        "film": vectors.film,
        "late": vectors.late,
        "attention": attention.attention,
        "cross_attention": attention.cross_attention,
        "bottleneck": attention.bottleneck,
        "tensor": products.tensor,
        "low_rank": products.low_rank,
    },
    __name__,
)

register = FUSIONS.register


def fuse(tokens, choice, *, width, features=None):
    """What the fusion that `choice` (a name, or a dict of "kind" and options) names makes of the tokens.

    Args:
        tokens: dict of name -> `Tokens`.
        choice: name of a fusion, or a dict of "kind" and options.
        width: of the fused vector.
        features: dict of input name -> the schema's entry, for fusions that ask for it.

    Returns:
        The fused vector `(batch, width)`; or, of a fusion of decisions, a dict of name -> vector `(batch, width)`.

    Raises:
        InputError: an unknown fusion or option, an option out of its range, too few modalities.
    """
    kind, build, options = choose(FUSIONS, choice, "")
    given = {"width": width, "features": features or {}}
    fused = build(tokens, **arguments("fusion", kind, build, options, given, ""))
    for vector in fused.values() if isinstance(fused, dict) else [fused]:
        shape = getattr(vector, "shape", None)
        if shape is None or tuple(shape[1:]) != (width,):
            received = repr(vector) if shape is None else tuple(shape)
            raise InputError(f"expected fusion {kind!r} to return (batch, {width}), received {received}")
    return fused
