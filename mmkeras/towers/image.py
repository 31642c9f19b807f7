"""Towers for pictures."""

import keras

from mmkeras.layers import conv_blocks
from mmkeras.schema import Image


def conv(x, *, feature: Image, width, name, filters=32, depth=None, dropout=0.0, tokens="one"):
    """Convolutions over a picture (Conv2D and max-pool).

    Args:
        x: `(batch, height, width_px, channels)`, uint8, 0 to 255.
        feature: `Image`.
        width: width of the tokens.
        name: of the input, prefix of the layers' names.
        filters: of the first convolution; each further one doubles them.
        depth: number of Conv2D and max-pool blocks; None: until the shorter side is at most 4 places, at least 1.
        dropout: share of the flattened values dropped in training.
        tokens: "one" (flatten and dense) or "all" (one token a place of the last grid).

    Returns:
        `Tokens` of `(batch, 1 or places, width)`, no mask.
    """
    x = keras.layers.Rescaling(1 / 255, name=f"{name}_rescale", dtype="float32")(x)
    return conv_blocks(x, width=width, filters=filters, depth=depth, dropout=dropout, tokens=tokens, name=name)
