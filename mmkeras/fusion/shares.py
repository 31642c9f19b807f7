"""The learned shares of a fusion's modalities."""

from collections.abc import Iterator
from typing import Any

import keras

from mmkeras.checks import checked_keywords
from mmkeras.errors import InputError
from mmkeras.layers import WeightedMean


@checked_keywords
def fusion_shares(model: keras.Model) -> dict[str, Any]:
    """The learned shares of the modalities, of a model with the fusion "weighted" or "late".

    Args:
        model: `keras.Model` from `build`.

    Returns:
        dict of name -> share, 0 to 1, adding up to 1. If the model has several such layers (one for each of several
        targets, or fusions of targets that read several inputs), a dict of layer name -> such a dict; in the fusion of
        one target the name is `<target>_fusion/<layer>`.

    Raises:
        InputError: a model without learned shares.
    """
    shares = {name: layer.shares() for name, layer in _weighted_means(model)}
    if not shares:
        raise InputError("fusion_shares: expected a model with the fusion 'weighted' or 'late', received one without")
    return shares if len(shares) > 1 else next(iter(shares.values()))


def _weighted_means(model: Any, inside: str = "") -> Iterator[tuple[str, WeightedMean]]:
    for layer in getattr(model, "layers", ()):
        if isinstance(layer, WeightedMean):
            yield inside + layer.name, layer
        else:  # a target's own fusion has the same layer names as the fusion of all inputs
            yield from _weighted_means(layer, f"{layer.name}/" if layer.name.endswith("_fusion") else inside)
