"""Towers for whatever comes step by step: the words of a sentence, the steps of a trace, the frames of a recording.

Each reads `Text`, `Series` and `Audio` through one front end, `steps`. Options of one kind of input are refused for
another:

    embedding, vectors, train_vectors    Text     see `mmkeras.towers.text.word_vectors`
    mels, window, hop                    Audio    see `mmkeras.towers.audio.log_mel`
"""

import keras
import numpy as np
from keras import ops

from mmkeras.errors import InputError
from mmkeras.layers import (
    Tokens,
    check_counts,
    check_tokens,
    encode,
    hide_padding,
    masked_mean,
    one_token,
    placed,
    recurrent,
)
from mmkeras.schema import Audio, Series, Text
from mmkeras.towers.audio import log_mel
from mmkeras.towers.text import word_vectors

FEWEST = 8  # steps of a trace or a recording that conv1d leaves by default
MOST = 64  # tokens that transformer makes of a trace or a recording by default


def steps(x, mask, feature, name, **options):
    """The steps of one input, and zeros where there is none.

    Args:
        x: of a `Text` `(batch, length)`, int32 token ids; of a `Series` `(batch, length, channels)`, float32, in the
            sensors' units; of an `Audio` `(batch, samples)`, float32 in [-1, 1].
        mask: `(batch, length)`, bool, True where there is a word or a step; None: everywhere.
        feature: the schema's entry.
        name: of the input.
        **options: of all kinds of input, None where not given.

    Returns:
        `(batch, steps, channels)`: word vectors, standardised steps, or log-mel frames (step: `hop`, channels: `mels`).

    Raises:
        InputError: an option of another kind of input.
    """
    kinds = dict.fromkeys(("embedding", "vectors", "train_vectors"), Text) | dict.fromkeys(
        ("mels", "window", "hop"), Audio
    )
    for option, value in options.items():
        if value is not None and not isinstance(feature, kinds[option]):
            known = kinds[option].__name__
            raise InputError(f"{name!r}: option {option!r} is for {known}, {name!r} is {type(feature).__name__}")
    given = {option: value for option, value in options.items() if value is not None}
    if isinstance(feature, Text):
        return word_vectors(x, mask, feature, name, **given)
    if isinstance(feature, Series):
        return standardised(x, feature, mask, name)
    return keras.layers.Permute((2, 1), dtype="float32", name=f"{name}_frames")(log_mel(x, feature, name, **given))


def standardised(x, feature, mask, name):
    """A trace in units of its channels' deviations, float32; zeros (the means) behind the mask.

    Args:
        x: `(batch, steps, channels)`, float32.
        feature: fitted `Series`.
        mask: `(batch, steps)`, bool; None: every step is there.
        name: of the input.
    """
    means, variances = list(feature.means), np.square(feature.std).tolist()
    normalise = keras.layers.Normalization(mean=means, variance=variances, dtype="float32", name=f"{name}_standardised")
    return hide_padding(Tokens(normalise(x), mask)).values


def lstm(
    x,
    *,
    mask=None,
    feature: Text | Series | Audio,
    width,
    name,
    layers=1,
    bidirectional=False,
    dropout=0.0,
    tokens="one",
    embedding=None,
    vectors=None,
    train_vectors=None,
    mels=None,
    window=None,
    hop=None,
):
    """LSTMs (Hochreiter and Schmidhuber, 1997) over words, the steps of a trace or the log-mel frames of a recording.

    Args:
        x: `(batch, length)`, int32; `(batch, length, channels)`, float32; or `(batch, samples)`, float32.
        mask: `(batch, length)`, bool, True where there is a word or a step.
        feature: fitted `Text` or `Series`, or `Audio`.
        width: width of the tokens and of each layer, both directions together.
        name: of the input, prefix of the layers' names.
        layers: number of LSTMs, one upon the other.
        bidirectional: half of each layer's width reads from the last step to the first (Schuster and Paliwal, 1997).
        dropout: share of the values dropped in training before each LSTM.
        tokens: "one" (the state after the last step; of the half that reads backwards, after the first) or "all" (the
            state after every step).
        embedding, vectors, train_vectors, mels, window, hop: of the front end, see the module.

    Returns:
        `Tokens` of `(batch, 1, width)` without a mask, or `(batch, steps, width)` with the mask.

    Raises:
        InputError: an option out of its range or of another kind of input.
    """
    front = {"embedding": embedding, "vectors": vectors, "train_vectors": train_vectors}
    x = steps(x, mask, feature, name, **front, mels=mels, window=window, hop=hop)
    read = {"layers": layers, "bidirectional": bidirectional, "dropout": dropout, "tokens": tokens}
    return recurrent(x, mask, cell="lstm", width=width, name=name, **read)


def gru(
    x,
    *,
    mask=None,
    feature: Text | Series | Audio,
    width,
    name,
    layers=1,
    bidirectional=False,
    dropout=0.0,
    tokens="one",
    embedding=None,
    vectors=None,
    train_vectors=None,
    mels=None,
    window=None,
    hop=None,
):
    """GRUs (Cho et al., 2014) in the place of the LSTMs of `lstm`: three quarters of the weights.

    Args:
        x: `(batch, length)`, int32; `(batch, length, channels)`, float32; or `(batch, samples)`, float32.
        mask: `(batch, length)`, bool, True where there is a word or a step.
        feature: fitted `Text` or `Series`, or `Audio`.
        width: width of the tokens and of each layer, both directions together.
        name: of the input, prefix of the layers' names.
        layers: number of GRUs, one upon the other.
        bidirectional, dropout, tokens: as in `lstm`.
        embedding, vectors, train_vectors, mels, window, hop: of the front end, see the module.

    Returns:
        `Tokens` of `(batch, 1, width)` without a mask, or `(batch, steps, width)` with the mask.

    Raises:
        InputError: an option out of its range or of another kind of input.
    """
    front = {"embedding": embedding, "vectors": vectors, "train_vectors": train_vectors}
    x = steps(x, mask, feature, name, **front, mels=mels, window=window, hop=hop)
    read = {"layers": layers, "bidirectional": bidirectional, "dropout": dropout, "tokens": tokens}
    return recurrent(x, mask, cell="gru", width=width, name=name, **read)


def conv1d(
    x,
    *,
    mask=None,
    feature: Text | Series | Audio,
    width,
    name,
    filters=None,
    kernel=None,
    stride=None,
    depth=None,
    dropout=0.0,
    tokens="one",
    embedding=None,
    vectors=None,
    train_vectors=None,
    mels=None,
    window=None,
    hop=None,
):
    """Convolutions over words, the steps of a trace or the log-mel frames of a recording.

    By default words get one layer of three kernel sizes side by side (Kim, 2014); a trace and a recording get several
    layers, each halving the steps and doubling the filters.

    Zeros stand behind the end of the steps before every convolution, so a longer padding changes nothing. One token is
    made of the mean and the maximum of each filter over the steps that are there (the mean tells how much, the maximum,
    which is Kim's, whether at all), and not of the flattened steps: inputs differ in length, so a place in the padded
    input means nothing.

    Args:
        x: `(batch, length)`, int32; `(batch, length, channels)`, float32; or `(batch, samples)`, float32.
        mask: `(batch, length)`, bool, True up to the last word or step.
        feature: fitted `Text` or `Series`, or `Audio`.
        width: width of the tokens.
        name: of the input, prefix of the layers' names.
        filters: of the first layer, for each kernel size; each further one doubles them. None: 64 for words, else 32.
        kernel: steps that a convolution sees, or a list of sizes side by side; None: [3, 4, 5] for words, else 5.
        stride: steps from place to place; None: 1 for words, else 2.
        depth: number of layers; None: 1 for words, else until at most 8 steps are left, from 1 to 4.
        dropout: share of the values dropped in training before the last dense layer.
        tokens: "one" (mean and maximum, then dense) or "all" (one token a step of the last layer).
        embedding, vectors, train_vectors, mels, window, hop: of the front end, see the module.

    Returns:
        `Tokens` of `(batch, 1, width)` without a mask, or `(batch, steps / stride**depth, width)` with a mask, rounded
        up.

    Raises:
        InputError: an option out of its range or of another kind of input.
    """
    check_tokens(tokens, name)
    front = {"embedding": embedding, "vectors": vectors, "train_vectors": train_vectors}
    x = steps(x, mask, feature, name, **front, mels=mels, window=window, hop=hop)
    words = isinstance(feature, Text)
    filters = filters if filters is not None else 64 if words else 32
    stride = stride if stride is not None else 1 if words else 2
    if depth is None:
        depth = 1 if words else min(max(1, ((x.shape[1] - 1) // FEWEST).bit_length()), 4)
    kernels = kernel if kernel is not None else [3, 4, 5] if words else 5
    kernels = list(kernels) if isinstance(kernels, (list, tuple)) and kernels else [kernels]
    check_counts(name, filters=filters, stride=stride, depth=depth)
    for size in kernels:
        check_counts(name, kernel=size)
    for block in range(depth):
        parts = []
        for size in kernels:
            # padded by hand: where padding="same" begins depends on the number of steps
            label = f"{name}_conv{block}" if len(kernels) == 1 else f"{name}_conv{block}_{size}"
            padded = keras.layers.ZeroPadding1D(((size - 1) // 2, size // 2), name=f"{label}_pad")(x)
            convolve = keras.layers.Conv1D(filters * 2**block, size, strides=stride, activation="relu", name=label)
            parts.append(convolve(padded))
        mask = None if mask is None else mask[:, ::stride]
        x = hide_padding(Tokens(ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0], mask)).values
    dense = keras.layers.Dense(width, activation="relu", name=f"{name}_dense")
    drop = keras.layers.Dropout(dropout, name=f"{name}_dropout") if dropout else lambda value: value
    if tokens == "all":
        return Tokens(dense(drop(x)), mask)
    # behind relu nothing is below the zeros behind the mask: the maximum needs no mask of its own
    pooled = [masked_mean(Tokens(x, mask)), ops.max(x, axis=1)]
    return one_token(dense(drop(keras.layers.Concatenate(name=f"{name}_pooled")(pooled))))


def transformer(
    x,
    *,
    mask=None,
    feature: Text | Series | Audio,
    width,
    name,
    depth=2,
    heads=4,
    patch=None,
    dropout=0.0,
    tokens="one",
    embedding=None,
    vectors=None,
    train_vectors=None,
    mels=None,
    window=None,
    hop=None,
):
    """A transformer encoder (Vaswani et al., 2017) over words, or over patches of a trace or of log-mel frames.

    A patch is several steps side by side, through a dense layer (as Nie et al., PatchTST, 2023, without overlap and
    over all channels): the cost of attention grows with the square of the tokens.

    Args:
        x: `(batch, length)`, int32; `(batch, length, channels)`, float32; or `(batch, samples)`, float32.
        mask: `(batch, length)`, bool, True up to the last word or step.
        feature: fitted `Text` or `Series`, or `Audio`.
        width: width of the tokens.
        name: of the input, prefix of the layers' names.
        depth: number of transformer layers.
        heads: of their attention; width is a multiple of it.
        patch: steps of a token; None: 1 for words, else as many as give at most 64 tokens.
        dropout: share of the values dropped in training behind each part of a layer.
        tokens: "one" (the mean of the tokens that are there) or "all".
        embedding, vectors, train_vectors, mels, window, hop: of the front end, see the module.

    Returns:
        `Tokens` of `(batch, 1, width)` without a mask, or `(batch, steps / patch, width)` with a mask, rounded up.

    Raises:
        InputError: a width that is no multiple of heads, an option out of its range or of another kind of input.
    """
    front = {"embedding": embedding, "vectors": vectors, "train_vectors": train_vectors}
    x = steps(x, mask, feature, name, **front, mels=mels, window=window, hop=hop)
    count, channels = x.shape[1:]
    if patch is None:
        patch = 1 if isinstance(feature, Text) else -(-count // MOST)
    check_counts(name, patch=patch)
    if patch > 1:
        x = keras.layers.ZeroPadding1D((0, -count % patch), name=f"{name}_pad")(x)
        x = keras.layers.Reshape((-(-count // patch), patch * channels), name=f"{name}_patches")(x)
        mask = None if mask is None else mask[:, ::patch]
    x = placed(x, width, name)
    return encode(x, mask, depth=depth, heads=heads, dropout=dropout, tokens=tokens, name=name)
