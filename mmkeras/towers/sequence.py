"""Towers for sequences: the words of a sentence, the steps of a trace, the frames of a recording.

Each reads every kind of input that has a front (`mmkeras.towers.fronts`), which makes its steps. Options of one kind of
input are refused for another.
"""

from typing import Any

import keras
from keras import KerasTensor, ops

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
from mmkeras.towers.fronts import Sequence, read


def lstm(
    x: KerasTensor,
    *,
    mask: KerasTensor | None = None,
    feature: Sequence,
    width: int,
    name: str,
    layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    tokens: str = "one",
    embedding: int | None = None,
    vectors: str | None = None,
    train_vectors: bool | None = None,
    mels: int | None = None,
    window: float | None = None,
    hop: float | None = None,
) -> Tokens:
    """LSTMs (Hochreiter and Schmidhuber, 1997) over words, the steps of a trace or the log-mel frames of a recording.

    Args:
        x: `(batch, *feature.shape)`, in the units of the schema.
        mask: `(batch, length)`, bool, True where there is a word or a step.
        feature: fitted `Text` or `Series`, `Audio`, or your own kind that has a front.
        width: width of the tokens and of each layer, both directions together.
        name: of the input, prefix of the layers' names.
        layers: number of stacked LSTMs.
        bidirectional: half of each layer's width reads from the last step to the first (Schuster and Paliwal, 1997).
        dropout: share of the values dropped in training before each LSTM.
        tokens: "one" (the state after the last step; of the half that reads backwards, after the first) or "all" (the
            state after every step).
        embedding, vectors, train_vectors, mels, window, hop: of the front, see `mmkeras.towers.fronts`.

    Returns:
        `Tokens` of `(batch, 1, width)` without a mask, or `(batch, steps, width)` with the mask.

    Raises:
        InputError: an option out of its range or of another kind of input.
    """
    words = {"embedding": embedding, "vectors": vectors, "train_vectors": train_vectors}
    x, _ = read(x, mask, feature, name, {**words, "mels": mels, "window": window, "hop": hop})
    own: dict[str, Any] = {"layers": layers, "bidirectional": bidirectional, "dropout": dropout, "tokens": tokens}
    return recurrent(x, mask, cell="lstm", width=width, name=name, **own)


def gru(
    x: KerasTensor,
    *,
    mask: KerasTensor | None = None,
    feature: Sequence,
    width: int,
    name: str,
    layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    tokens: str = "one",
    embedding: int | None = None,
    vectors: str | None = None,
    train_vectors: bool | None = None,
    mels: int | None = None,
    window: float | None = None,
    hop: float | None = None,
) -> Tokens:
    """GRUs (Cho et al., 2014) instead of the LSTMs of `lstm`: three quarters of the weights.

    Args:
        x: `(batch, *feature.shape)`, in the units of the schema.
        mask: `(batch, length)`, bool, True where there is a word or a step.
        feature: fitted `Text` or `Series`, `Audio`, or your own kind that has a front.
        width: width of the tokens and of each layer, both directions together.
        name: of the input, prefix of the layers' names.
        layers: number of stacked GRUs.
        bidirectional, dropout, tokens: as in `lstm`.
        embedding, vectors, train_vectors, mels, window, hop: of the front, see `mmkeras.towers.fronts`.

    Returns:
        `Tokens` of `(batch, 1, width)` without a mask, or `(batch, steps, width)` with the mask.

    Raises:
        InputError: an option out of its range or of another kind of input.
    """
    words = {"embedding": embedding, "vectors": vectors, "train_vectors": train_vectors}
    x, _ = read(x, mask, feature, name, {**words, "mels": mels, "window": window, "hop": hop})
    own: dict[str, Any] = {"layers": layers, "bidirectional": bidirectional, "dropout": dropout, "tokens": tokens}
    return recurrent(x, mask, cell="gru", width=width, name=name, **own)


def conv1d(
    x: KerasTensor,
    *,
    mask: KerasTensor | None = None,
    feature: Sequence,
    width: int,
    name: str,
    filters: int | None = None,
    kernel: int | list[int] | None = None,
    stride: int | None = None,
    depth: int | None = None,
    dropout: float = 0.0,
    tokens: str = "one",
    embedding: int | None = None,
    vectors: str | None = None,
    train_vectors: bool | None = None,
    mels: int | None = None,
    window: float | None = None,
    hop: float | None = None,
) -> Tokens:
    """Convolutions over words, the steps of a trace or the log-mel frames of a recording.

    By default words get one layer of three kernel sizes side by side (Kim, 2014); a trace and a recording get several
    layers, each halving the steps and doubling the filters.

    Before every convolution, the padding is set to zeros, so a longer padding changes nothing. One token is made of the
    mean and the maximum of each filter over the steps that are there (the mean shows how much, the maximum, which is
    Kim's, whether at all). It is not made of the flattened steps: inputs differ in length, so a place in the padded
    input has no meaning.

    Args:
        x: `(batch, *feature.shape)`, in the units of the schema.
        mask: `(batch, length)`, bool, True up to the last word or step.
        feature: fitted `Text` or `Series`, `Audio`, or your own kind that has a front.
        width: width of the tokens.
        name: of the input, prefix of the layers' names.
        filters: of the first layer, for each kernel size; each further one doubles them. None: 64 for words, else 32.
        kernel: steps that a convolution sees, or a list of sizes side by side; None: [3, 4, 5] for words, else 5.
        stride: steps from place to place; None: 1 for words, else 2.
        depth: number of layers; None: 1 for words, else until at most 8 steps are left, from 1 to 4.
        dropout: share of the values dropped in training before the last dense layer.
        tokens: "one" (mean and maximum, then dense) or "all" (one token a step of the last layer).
        embedding, vectors, train_vectors, mels, window, hop: of the front, see `mmkeras.towers.fronts`.

    Returns:
        `Tokens` of `(batch, 1, width)` without a mask, or `(batch, steps / stride**depth, width)` with a mask, rounded
        up.

    Raises:
        InputError: an option out of its range or of another kind of input.
    """
    check_tokens(tokens, name)
    words = {"embedding": embedding, "vectors": vectors, "train_vectors": train_vectors}
    x, front = read(x, mask, feature, name, {**words, "mels": mels, "window": window, "hop": hop})
    filters = front.filters if filters is None else filters
    stride = front.stride if stride is None else stride
    depth = front.depth(x.shape[1]) if depth is None else depth
    given: Any = front.kernel if kernel is None else kernel
    kernels = list(given) if isinstance(given, list | tuple) and given else [given]
    check_counts(name, filters=filters, stride=stride, depth=depth)
    for size in kernels:
        check_counts(name, kernel=size)
    for block in range(depth):
        parts = []
        for size in kernels:
            # padded by hand: the beginning of padding="same" depends on the number of steps
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
    # after relu no value is below the zeros of the padding: the maximum needs no mask
    pooled = [masked_mean(Tokens(x, mask)), ops.max(x, axis=1)]
    return one_token(dense(drop(keras.layers.Concatenate(name=f"{name}_pooled")(pooled))))


def transformer(
    x: KerasTensor,
    *,
    mask: KerasTensor | None = None,
    feature: Sequence,
    width: int,
    name: str,
    depth: int = 2,
    heads: int = 4,
    patch: int | None = None,
    dropout: float = 0.0,
    tokens: str = "one",
    embedding: int | None = None,
    vectors: str | None = None,
    train_vectors: bool | None = None,
    mels: int | None = None,
    window: float | None = None,
    hop: float | None = None,
) -> Tokens:
    """A transformer encoder (Vaswani et al., 2017) over words, or over patches of a trace or of log-mel frames.

    A patch is several steps side by side, through a dense layer (as Nie et al., PatchTST, 2023, without overlap and
    over all channels), because the cost of attention grows with the square of the tokens.

    Args:
        x: `(batch, *feature.shape)`, in the units of the schema.
        mask: `(batch, length)`, bool, True up to the last word or step.
        feature: fitted `Text` or `Series`, `Audio`, or your own kind that has a front.
        width: width of the tokens.
        name: of the input, prefix of the layers' names.
        depth: number of transformer layers.
        heads: of their attention; width is a multiple of it.
        patch: steps of a token; None: 1 for words, else as many as give at most 64 tokens.
        dropout: share of the values dropped in training after each part of a layer.
        tokens: "one" (the mean of the tokens that are there) or "all".
        embedding, vectors, train_vectors, mels, window, hop: of the front, see `mmkeras.towers.fronts`.

    Returns:
        `Tokens` of `(batch, 1, width)` without a mask, or `(batch, steps / patch, width)` with a mask, rounded up.

    Raises:
        InputError: a width that is no multiple of heads, an option out of its range or of another kind of input.
    """
    words = {"embedding": embedding, "vectors": vectors, "train_vectors": train_vectors}
    x, front = read(x, mask, feature, name, {**words, "mels": mels, "window": window, "hop": hop})
    count, channels = x.shape[1:]
    patch = front.patch(count) if patch is None else patch
    check_counts(name, patch=patch)
    if patch > 1:
        x = keras.layers.ZeroPadding1D((0, -count % patch), name=f"{name}_pad")(x)
        x = keras.layers.Reshape((-(-count // patch), patch * channels), name=f"{name}_patches")(x)
        mask = None if mask is None else mask[:, ::patch]
    x = placed(x, width, name)
    return encode(x, mask, depth=depth, heads=heads, dropout=dropout, tokens=tokens, name=name)
