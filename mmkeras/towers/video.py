"""Towers for videos."""

import keras
from keras import ops

from mmkeras.errors import unknown
from mmkeras.layers import Tokens, check_tokens, conv_blocks, masked_mean, one_token
from mmkeras.schema import Video

WAYS = ("mean",)


def frames(
    x, *, mask=None, feature: Video, width, name, over="mean", filters=32, depth=None, dropout=0.0, tokens="one"
):
    """The convolutions of the tower 'conv' over every frame, then one token for all frames or one for each.

    The frames of all videos go through the convolutions as one batch of pictures.

    Args:
        x: `(batch, frames, height, width_px, channels)`, uint8, 0 to 255.
        mask: `(batch, frames)`, bool, True where there is a frame.
        feature: `Video`.
        width: width of the tokens.
        name: of the input, prefix of the layers' names.
        over: how one token is made of the frames' vectors: "mean" (of the frames that are there).
        filters: of the first convolution; each further one doubles them.
        depth: number of Conv2D and max-pool blocks; None: until the shorter side is at most 4 places, at least 1.
        dropout: share of a frame's flattened values dropped in training.
        tokens: "one" (the frames brought together by `over`) or "all" (one token a frame).

    Returns:
        `Tokens` of `(batch, 1, width)` without a mask, or `(batch, frames, width)` with the frames' mask.
    """
    check_tokens(tokens, name)
    if over not in WAYS:
        raise unknown("value of over", over, WAYS, where=f"{name!r}: ")
    count = x.shape[1]
    x = ops.reshape(x, (-1, *x.shape[2:]))
    x = keras.layers.Rescaling(1 / 255, name=f"{name}_rescale", dtype="float32")(x)
    pictures = conv_blocks(x, width=width, filters=filters, depth=depth, dropout=dropout, tokens="one", name=name)
    values = ops.reshape(pictures.values, (-1, count, width))
    return Tokens(values, mask) if tokens == "all" else one_token(masked_mean(Tokens(values, mask)))
