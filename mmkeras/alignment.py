"""A space that several modalities share: the vector of a modality in it, and the loss that brings them together.

Chosen as `mk.build(schema, align={"kind": "contrastive", "dim": 64})`.

    contrastive   a row's own pair against all pairs of the batch (CLIP)
    siglip        every pair of the batch by itself (SigLIP)
    mse           squared distance of a row's vectors
    kl            divergence of a row's vectors as distributions
    adversarial   a discriminator guesses the modality, and the towers learn to deceive it
    misa          shared and private vectors of each modality; both go on to the fusion (MISA)

Each is a layer of `mmkeras.layers.alignment`, which documents formulas, sources and options.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from mmkeras.checks import check_switch, check_whole, checked_keywords
from mmkeras.errors import InputError, shown, unknown
from mmkeras.layers import (
    Adversarial,
    Alignment,
    Contrastive,
    Divergence,
    MeanSquared,
    SharedPrivate,
    SigLIP,
    Tensor,
    Tokens,
    UnitLength,
    input_like,
    masked_mean,
)
from mmkeras.registry import Catalogue, choose, own_options
from mmkeras.schema import Schema

__all__ = ["ALIGNMENTS", "aligner", "encoder", "register"]

ALIGNMENTS = Catalogue(
    "alignment",
    {
        "contrastive": Contrastive,
        "siglip": SigLIP,
        "mse": MeanSquared,
        "kl": Divergence,
        "adversarial": Adversarial,
        "misa": SharedPrivate,
    },
    __name__,
    lambda part: isinstance(part, type) and issubclass(part, Alignment),
    "a class that derives from mmkeras.layers.alignment.Alignment",
)

register = ALIGNMENTS.register


def __dir__() -> list[str]:
    """The public names."""
    return __all__


def aligner(tokens: Mapping[str, Tokens], present: Mapping[str, Tensor], choice: Any) -> keras.Model:
    """The sub-model "alignment".

    Args:
        tokens: dict of name -> `Tokens`, of at least two modalities.
        present: dict of name -> `(batch,)` bool, of the modalities that may be missing.
        choice: a name of `ALIGNMENTS`, or a dict of "kind", "dim" (width of the space, 64 by default), "through" and
            the layer's options. With `"through": True` the fusion reads the vectors instead of the towers' tokens: what
            the tasks need has to pass through the space, which therefore cannot shrink to one point.

    Returns:
        `keras.Model` of `{"tokens": dict of name -> [values] or [values, mask], "present": ...}` whose outputs are
        "tokens", in the same form, for the fusion, and "vectors": dict of name -> `(batch, dim)` float32 of unit
        length. With "misa" the tokens are a shared and a private one of each modality, `(batch, 2, dim)`; with
        "through" they are the vectors, `(batch, 1, dim)`.

    Raises:
        InputError: an unknown kind or option, an option out of its range, fewer than two modalities.
    """
    layer, dim, through = _layer(choice)
    if len(tokens) < 2:
        raise InputError(f"alignment: expected at least two inputs, received {', '.join(tokens)}")
    given = {name: part.pair for name, part in tokens.items()}
    inputs = {
        "tokens": keras.tree.map_structure(input_like, given),
        "present": keras.tree.map_structure(input_like, present),
    }
    tokens = {name: Tokens.of(part) for name, part in inputs["tokens"].items()}
    pooled = {name: masked_mean(part) for name, part in tokens.items()}
    first = next(iter(pooled.values()))
    there = [inputs["present"].get(name) for name in tokens]
    there = [keras.ops.ones_like(first[:, 0], dtype="bool") if rows is None else rows for rows in there]
    if layer.private:
        passed, vectors = _shared_and_private(pooled, there, layer, dim)
    else:
        vectors = {name: _unit(_dense(dim, f"{name}_projection")(vector), name) for name, vector in pooled.items()}
        vectors = dict(zip(vectors, layer(list(vectors.values()), there), strict=True))
        passed = {name: [keras.ops.expand_dims(x, 1)] for name, x in vectors.items()} if through else inputs["tokens"]
    return keras.Model(inputs, {"tokens": passed, "vectors": vectors}, name="alignment")


def _layer(choice: Any) -> tuple[Alignment, int, bool]:
    """The layer that `choice` names, the width of its space, and whether the fusion reads its vectors."""
    if isinstance(choice, Mapping) and "kind" not in choice:
        raise InputError(f"alignment: expected a 'kind', one of {', '.join(ALIGNMENTS)}, received {shown(choice)}")
    kind, part, options = choose(ALIGNMENTS, choice, "")
    where = f"alignment {kind!r}: "
    dim = check_whole(options.pop("dim", 64), "dim", where)
    through = check_switch(options.pop("through", part.private), "through", where)
    if part.private and not through:
        raise InputError(f"{where}expected through to be True, received False: it makes its own tokens")
    own = list(dict.fromkeys([*own_options(part, ()), *own_options(Alignment, ())]))
    for option in options:
        if option not in own:
            raise unknown(f"option of alignment {kind!r}:", option, [*own, "dim", "through"], "")
    return part(**options, name=f"alignment_{kind}"), dim, through


def _dense(width: int, name: str, activation: str | None = None) -> keras.layers.Dense:
    return keras.layers.Dense(width, activation=activation, name=name)


def _unit(vector: Tensor, name: str) -> Tensor:
    return UnitLength(name=f"{name}_unit")(vector)


def _shared_and_private(
    pooled: Mapping[str, Tensor], there: Sequence[Tensor], layer: Alignment, dim: int
) -> tuple[dict[str, list[Tensor]], dict[str, Tensor]]:
    """Both vectors of each modality as its tokens, and the shared ones at unit length."""
    shared, decoder = _dense(dim, "shared", "sigmoid"), _dense(dim, "decoder")
    hidden = [_dense(dim, f"{name}_hidden", "relu")(vector) for name, vector in pooled.items()]
    common = [shared(h) for h in hidden]
    own = [_dense(dim, f"{name}_private", "sigmoid")(h) for name, h in zip(pooled, hidden, strict=True)]
    rebuilt = [decoder(s + p) for s, p in zip(common, own, strict=True)]
    passed = layer([*common, *own, *hidden, *rebuilt], there)
    tokens = {name: [keras.ops.stack([s, p], axis=1)] for name, s, p in zip(pooled, passed, own, strict=True)}
    return tokens, {name: _unit(s, name) for name, s in zip(pooled, common, strict=True)}


@checked_keywords
def encoder(model: keras.Model, schema: Schema, name: str) -> keras.Model:
    """The part of a model that brings one input into the shared space, over the same weights.

    Args:
        model: `keras.Model` of `mk.build(..., align=...)`.
        schema: the one it was built from.
        name: of the input.

    Returns:
        `keras.Model` of the input alone, as `schema.tower_inputs` of it; its output is `(batch, dim)`
        float32 of unit length. An optional input must be there: leave rows without it out.

    Raises:
        InputError: an unknown input; a model without a shared space.
    """
    if name not in schema.inputs:
        raise unknown("input", name, schema.inputs, where="encoder: ")
    parts = {layer.name: layer for layer in model.layers}
    if "alignment" not in parts or f"{name}_tower" not in parts:
        raise InputError("encoder: expected a model of mk.build(..., align=...), received one without a shared space")
    given = schema.tower_inputs(name)
    inputs = [keras.Input(shape, dtype=dtype, name=key) for key, (shape, dtype) in given.items()]
    tokens = parts[f"{name}_tower"](inputs if len(inputs) > 1 else inputs[0])
    alignment = parts["alignment"]
    into_space = keras.Model(alignment.input["tokens"][name], alignment.get_layer(f"{name}_unit").output)
    return keras.Model(inputs, into_space(Tokens.of(tokens).pair), name=f"{name}_encoder")
