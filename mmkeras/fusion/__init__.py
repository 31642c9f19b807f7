"""Fusions: the tokens of all modalities in, one `Fused` out: a vector, and the tokens it was made of.

A fusion is a function `(tokens, *, width) -> vector (batch, width)` of a dict of name -> `Tokens` in schema order. It
may ask for `features`, a dict of input name -> the schema's entry, and have options of its own. Tasks that read tokens
get the vector as one token; a fusion that has more returns `Tokens`, whose mean is then the vector, or a `Fused` of
both. A fusion of decisions returns a dict of name -> `(batch, width)`: each task then reads every vector by itself, and
its outputs are averaged.

    concat           side by side, then dense layers
    multiply         product of projections
    weighted         one learned share for each modality, see `fusion_shares`
    gated            gates that look at all modalities
    film             one modality scales and shifts the features of the others (tokens)
    late             a decision from each modality, averaged (a token a modality)
    attention        self-attention over all tokens (tokens)
    cross_attention  each modality attends to each other one (tokens)
    bottleneck       attention through a few tokens that all modalities share (tokens)
    tensor           the products of all features of all modalities
    low_rank         the same with a decomposed weight
"""

from collections.abc import Mapping
from typing import Any

from keras import ops

from mmkeras.errors import InputError, shown
from mmkeras.fusion.attending import attention, bottleneck, cross_attention
from mmkeras.fusion.conditioned import film
from mmkeras.fusion.products import low_rank, multiply, tensor
from mmkeras.fusion.shares import fusion_shares
from mmkeras.fusion.vectors import concat, gated, late, weighted
from mmkeras.inputs import Input
from mmkeras.layers import Fused, Tokens, hide_padding, masked_mean, one_token
from mmkeras.registry import Catalogue, arguments, choose

__all__ = [
    "FUSIONS",
    "attention",
    "bottleneck",
    "concat",
    "cross_attention",
    "film",
    "fuse",
    "fusion_shares",
    "gated",
    "late",
    "low_rank",
    "multiply",
    "register",
    "tensor",
    "weighted",
]


def __dir__() -> list[str]:
    """The public names."""
    return __all__


PARTS = (concat, multiply, weighted, gated, film, late, attention, cross_attention, bottleneck, tensor, low_rank)
FUSIONS = Catalogue("fusion", {part.__name__: part for part in PARTS}, __name__)

register = FUSIONS.register


def fuse(
    tokens: Mapping[str, Tokens], choice: Any, *, width: int, features: Mapping[str, Input] | None = None
) -> Fused:
    """The tokens, fused by the fusion that `choice` names.

    Args:
        tokens: dict of name -> `Tokens`.
        choice: name of a fusion, or a dict of "kind" and options.
        width: of the fused vector.
        features: dict of input name -> the schema's entry, for fusions that ask for it.

    Returns:
        `Fused` without grids: the vector `(batch, width)`, or of a fusion of decisions a dict of them, and tokens
        `(batch, tokens, width)` with zeros where their mask is False.

    Raises:
        InputError: an unknown fusion or option, an option out of its range, too few modalities, a fusion of your own
            that returns something else.
    """
    kind, build, options = choose(FUSIONS, choice, "")
    given = {"width": width, "features": features or {}}
    made = build(tokens, **arguments("fusion", kind, build, options, given, ""))
    fused = _as_fused(made)
    vectors = [*(fused.decisions or {}).values(), *([] if fused.vector is None else [fused.vector])]
    sequences = [] if fused.tokens is None else [getattr(fused.tokens, "values", None)]
    if (
        not vectors + sequences
        or {_axes(x, width) for x in vectors} - {2}
        or {_axes(x, width) for x in sequences} - {3}
    ):
        raise InputError(f"expected fusion {kind!r} to return (batch, {width}), received {shown(made)}")
    return _whole(fused)


def _as_fused(made: Any) -> Fused:
    """The output of a fusion, as `Fused`."""
    if isinstance(made, Fused):
        return made
    if isinstance(made, Tokens):
        return Fused(None, made)
    return Fused(None, decisions=made) if isinstance(made, Mapping) else Fused(made)


def _axes(tensor: Any, width: int) -> int:
    """The number of axes of a tensor of this width; 0 of anything else."""
    shape = getattr(tensor, "shape", ())
    return len(shape) if shape and shape[-1] == width else 0


def _whole(fused: Fused) -> Fused:
    """The vector from the tokens, where there is none; the tokens from the vectors."""
    vector, tokens, decisions = fused.vector, fused.tokens, fused.decisions
    if vector is None and decisions is None:
        vector = masked_mean(tokens)
    elif tokens is None:
        tokens = Tokens(ops.stack(list(decisions.values()), axis=1)) if decisions else one_token(vector)
    return Fused(vector, hide_padding(tokens), decisions=decisions)
