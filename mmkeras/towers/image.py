"""Towers for pictures."""

import math
from pathlib import Path

import keras
from keras import KerasTensor

from mmkeras.checks import check_choice, check_number, check_whole
from mmkeras.errors import InputError
from mmkeras.inputs import Image
from mmkeras.layers import SinePositions, Tokens, check_counts, check_tokens, conv_blocks, encode, grid_tokens, halvings
from mmkeras.towers.pretrained import as_picture, read_with

SIZES = ("small", "large")
SMALLEST = 32  # pixels along a side, the least that MobileNetV3 takes
PATCHES = 8  # along the longer side of a picture, at most, by default


def _rescaled(x: KerasTensor, name: str) -> KerasTensor:
    return keras.layers.Rescaling(1 / 255, name=f"{name}_rescale", dtype="float32")(x)


def conv(
    x: KerasTensor,
    *,
    feature: Image,
    width: int,
    name: str,
    filters: int = 32,
    depth: int | None = None,
    dropout: float = 0.0,
    tokens: str = "one",
) -> Tokens:
    """Convolutions over a picture (Conv2D and max-pool: LeCun et al., Gradient-based learning, 1998).

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

    Raises:
        InputError: an option out of its range.
    """
    x = _rescaled(x, name)
    return conv_blocks(x, width=width, filters=filters, depth=depth, dropout=dropout, tokens=tokens, name=name)


def residual(
    x: KerasTensor,
    *,
    feature: Image,
    width: int,
    name: str,
    filters: int = 32,
    depth: int | None = None,
    dropout: float = 0.0,
    tokens: str = "one",
) -> Tokens:
    """A small residual network (He et al., Identity mappings in deep residual networks, 2016).

    A convolution, then blocks of `x' = S a(x) + C2 a(C1 a(x))`, with `a(x) = relu(norm(x))` and S a convolution of one
    pixel; C1 and S halve the picture. The norm is group normalisation (Wu and He, 2018) in 8 groups, fewer where
    filters is no multiple of 8: unlike batch normalisation it uses one row only. It takes about a quarter of the
    tower's cost; the whole tower costs about twice as much as 'conv'.

    Args:
        x: `(batch, height, width_px, channels)`, uint8, 0 to 255.
        feature: `Image`.
        width: width of the tokens.
        name: of the input, prefix of the layers' names.
        filters: of the first convolution and block; each further block doubles them.
        depth: number of blocks; None: until the shorter side is at most 4 places, at least 1.
        dropout: share of the flattened values dropped in training.
        tokens: "one" (flatten and dense) or "all" (one token a place of the last grid).

    Returns:
        `Tokens` of `(batch, 1 or places, width)`, no mask.

    Raises:
        InputError: an option out of its range.
    """
    check_tokens(tokens, name)
    depth = halvings(x) if depth is None else depth
    check_counts(name, filters=filters, depth=depth)
    x, grids = _convolution(_rescaled(x, name), filters, f"{name}_conv"), []
    for block in range(depth):
        label, wide = f"{name}_block{block}", filters * 2**block
        x = _normalised(x, label)
        grids.append(x)
        shortcut = _convolution(x, wide, f"{label}_shortcut", kernel=1, strides=2)
        x = _convolution(x, wide, f"{label}_conv0", strides=2)
        x = _convolution(_normalised(x, f"{label}_middle"), wide, f"{label}_conv1")
        x = keras.layers.Add(name=f"{label}_add")([shortcut, x])
    x = _normalised(x, name)
    return grid_tokens(x, width=width, dropout=dropout, tokens=tokens, name=name, finer=grids)


def _convolution(x: KerasTensor, filters: int, name: str, kernel: int = 3, strides: int = 1) -> KerasTensor:
    return keras.layers.Conv2D(filters, kernel, strides=strides, padding="same", name=name)(x)


def _normalised(x: KerasTensor, name: str) -> KerasTensor:
    """`relu(norm(x))`."""
    x = keras.layers.GroupNormalization(math.gcd(x.shape[-1], 8), name=f"{name}_norm")(x)
    return keras.layers.Activation("relu", name=f"{name}_relu")(x)


def mobile(
    x: KerasTensor,
    *,
    feature: Image,
    width: int,
    name: str,
    size: str = "small",
    weights: str | None = None,
    trainable: bool = True,
    alpha: float = 1.0,
    min_side: int = SMALLEST,
    dropout: float = 0.0,
    tokens: str = "one",
) -> Tokens:
    """MobileNetV3 (Howard et al., 2019) of keras.applications without its last layers, then dense.

    The network halves a picture five times, so a picture of 32 x 32 ends as a single place: `min_side` keeps more. It
    has batch normalisation: in training, but not at inference, rows affect each other, and so do the placeholders of
    missing pictures for an input with optional=True. 'conv', 'residual' and 'vit' have none, and trainable=False turns
    it off.

    Args:
        x: `(batch, height, width_px, channels)`, uint8, 0 to 255; a grey picture is repeated to three channels.
        feature: `Image`.
        width: width of the tokens.
        name: of the input, prefix of the layers' names.
        size: "small" or "large".
        weights: None (random), "imagenet" (which keras.applications downloads once), or the path of a weights file
            of this network without its top, as `model.save_weights` of
            `keras.applications.MobileNetV3Small(include_top=False)` makes it.
        trainable: False: the network's weights are frozen and it always behaves as at inference.
        alpha: filters as a multiple of the original's; for "imagenet" 0.75 or 1.
        min_side: pictures whose shorter side has fewer pixels are resized up to it (bilinear); at least 32.
        dropout: share of the flattened values dropped in training.
        tokens: "one" (flatten and dense) or "all" (one token a place of the last grid).

    Returns:
        `Tokens` of `(batch, 1 or places, width)`, no mask.

    Raises:
        InputError: an unknown size, weights that cannot be loaded or do not fit, min_side below 32, alpha not above 0.
    """
    check_tokens(tokens, name)
    where = f"{name!r}: "
    check_choice(size, "size", SIZES, where)
    check_whole(min_side, "min_side", where, least=SMALLEST)
    check_number(alpha, "alpha", where, least=0, above=True)
    larger = max(1, min_side / min(feature.height, feature.width))
    shape = round(feature.height * larger), round(feature.width * larger)
    x = as_picture(x, feature, (*shape, 3), where)
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name=f"{name}_rescale", dtype="float32")(x)
    network = _mobile_network(size, weights, alpha, (*shape, 3), name)
    return read_with(network, x, None, width=width, name=name, trainable=trainable, dropout=dropout, tokens=tokens)


def _mobile_network(size: str, weights: str | None, alpha: float, shape: tuple[int, ...], name: str) -> keras.Model:
    """MobileNetV3 without top and without its rescaling, which ours does in float32 whatever the policy.

    Its batch normalisation gets the momentum 0.9. With the 0.999 of keras.applications, inference is near chance after
    a thousand steps: the accuracy on written digits was .98 in training and .10 after it.
    """
    network = {"small": keras.applications.MobileNetV3Small, "large": keras.applications.MobileNetV3Large}[size]
    options = {"input_shape": shape, "alpha": alpha, "include_top": False, "include_preprocessing": False}
    options["name"] = f"{name}_backbone"
    if weights == "imagenet":
        try:
            model = network(weights="imagenet", **options)
        except Exception as error:  # Keras raises a plain Exception where it cannot download
            raise InputError(
                f"{name!r}: weights='imagenet' could not be loaded ({error}). Without a network set weights= to a file"
                f": on a machine with one, save keras.applications.MobileNetV3{size.capitalize()}"
                "(weights='imagenet', include_top=False) with model.save_weights('x.weights.h5')"
            ) from error
    else:
        model = network(weights=None, **options)
        if weights is not None:
            _load(model, weights, f"{name!r}: ")
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
    return model


def _load(model: keras.Model, weights: str, where: str) -> None:
    if not Path(weights).is_file():
        raise InputError(f"{where}expected weights to be None, 'imagenet' or a file, no such file {str(weights)!r}")
    try:
        model.load_weights(weights)
    except (ValueError, OSError, KeyError) as error:
        raise InputError(f"{where}weights {str(weights)!r} do not fit {model.name!r}: {error}") from error


def vit(
    x: KerasTensor,
    *,
    feature: Image,
    width: int,
    name: str,
    patch: int | None = None,
    depth: int = 2,
    heads: int = 4,
    dropout: float = 0.0,
    tokens: str = "one",
) -> Tokens:
    """A vision transformer (Dosovitskiy et al., 2021): patches of the picture as tokens of a transformer.

    Each patch is projected (a convolution whose stride is the patch) and normalised, its place is added as sines, and
    a transformer encoder follows (`mmkeras.layers.sequences.encode`). A picture that is no multiple of the patch gets
    black edges, half of what is missing on either side. It costs about twice as much as 'conv'.

    Args:
        x: `(batch, height, width_px, channels)`, uint8, 0 to 255.
        feature: `Image`.
        width: width of the tokens and of the transformer; a multiple of heads.
        name: of the input, prefix of the layers' names.
        patch: side of a square patch, pixels; None: the least with at most 8 patches along the longer side.
        depth: number of transformer layers.
        heads: of the attention.
        dropout: share of the values dropped in training after each part of a transformer layer.
        tokens: "one" (the mean of the patches, which know their places) or "all" (one token a patch, row by row).

    Returns:
        `Tokens` of `(batch, 1 or patches, width)`, no mask.

    Raises:
        InputError: a patch larger than the picture, a width that is no multiple of heads, an option out of its range.
    """
    longer = max(x.shape[1:3])
    if patch is None:
        patch = math.ceil(longer / PATCHES)
    if isinstance(patch, bool) or not isinstance(patch, int) or not 1 <= patch <= longer:
        raise InputError(f"{name!r}: expected patch to be a whole number from 1 to {longer}, received {patch!r}")
    project = keras.layers.Conv2D(width, patch, strides=patch, padding="same", name=f"{name}_patches")
    x = project(_rescaled(x, name))
    grid = x.shape[1:3]
    x = keras.layers.Reshape((-1, width), name=f"{name}_sequence")(x)
    # normalised so that value and position of a patch have the same weight
    x = keras.layers.LayerNormalization(name=f"{name}_patch_norm")(x)
    x = SinePositions(grid, name=f"{name}_positions")(x)
    return encode(x, None, depth=depth, heads=heads, dropout=dropout, tokens=tokens, name=name)
