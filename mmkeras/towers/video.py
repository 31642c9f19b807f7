"""Towers for videos."""

import inspect
from typing import Any

from keras import KerasTensor, ops

from mmkeras.checks import check_choice
from mmkeras.inputs import Image, Video
from mmkeras.layers import Tokens, check_tokens, hide_padding, masked_mean, one_token
from mmkeras.layers.sequences import encode, placed, recurrent
from mmkeras.registry import arguments, choose

WAYS = ("mean", "lstm", "transformer")


def frames(
    x: KerasTensor,
    *,
    mask: KerasTensor | None = None,
    feature: Video,
    width: int,
    name: str,
    over: str = "mean",
    tower: str | dict[str, Any] = "conv",
    depth: int = 1,
    heads: int = 4,
    dropout: float = 0.0,
    tokens: str = "one",
) -> Tokens:
    """A tower for pictures over every frame, then one token for all frames or one for each.

    The frames of all videos go through the pictures' tower as one batch, including the padding after the end of a
    video: batch normalisation in that tower (as in 'mobile') sees it in training. Longer padding changes nothing else.

    Args:
        x: `(batch, frames, height, width_px, channels)`, uint8, 0 to 255.
        mask: `(batch, frames)`, bool, True where there is a frame.
        feature: `Video`.
        width: width of the tokens.
        name: of the input, prefix of the layers' names.
        over: how the vectors of the frames are brought together: "mean" (of the frames that are there), "lstm"
            (Hochreiter and Schmidhuber, 1997) or "transformer" (Vaswani et al., 2017; frames are placed by sines).
        tower: the pictures' tower: a name, or a dict of "kind" and options.
        depth: number of layers of the LSTM or the transformer over the frames.
        heads: of the transformer's attention; width is a multiple of it.
        dropout: share of the values dropped in training before each LSTM, or after each part of a transformer layer.
        tokens: "one" (all frames brought together) or "all" (one token a frame, which with "lstm" knows the frames
            before it and with "transformer" all others).

    Returns:
        `Tokens` of `(batch, 1, width)` without a mask, or `(batch, frames, width)` with the frames' mask.

    Raises:
        InputError: an unknown way or tower, an option out of its range.
    """
    check_tokens(tokens, name)
    check_choice(over, "over", WAYS, f"{name!r}: ")
    vectors = hide_padding(Tokens(_each_frame(x, tower, feature, width, name), mask)).values
    read: dict[str, Any] = {"dropout": dropout, "tokens": tokens, "name": f"{name}_over"}
    if over == "lstm":
        return recurrent(vectors, mask, cell="lstm", width=width, layers=depth, **read)
    if over == "transformer":
        return encode(placed(vectors, width, f"{name}_over"), mask, depth=depth, heads=heads, **read)
    return Tokens(vectors, mask) if tokens == "all" else one_token(masked_mean(Tokens(vectors, mask)))


def _each_frame(x: KerasTensor, choice: str | dict[str, Any], feature: Video, width: int, name: str) -> KerasTensor:
    """The pictures' tower applied to each frame: `(batch, frames, width)`."""
    from mmkeras.towers import TOWERS, require_reads  # the catalogue holds this tower too

    where = f"{name!r}: "
    picture = Image(*feature.shape[1:])
    kind, build, options = choose(TOWERS, choice, where)
    require_reads(build, picture, kind, where)
    if "tokens" in inspect.signature(build).parameters:
        options = {"tokens": "one", **options}
    given = {"mask": None, "width": width, "name": name, "feature": picture}
    flat = ops.reshape(x, (-1, *picture.shape))
    values = build(flat, **arguments("tower", kind, build, options, given, where)).values
    return ops.reshape(masked_mean(Tokens(values)), (-1, feature.frames, width))
