"""Towers for recordings."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import KerasTensor, ops

from mmkeras.checks import is_number
from mmkeras.errors import InputError, shown, unknown
from mmkeras.inputs import Audio
from mmkeras.layers import (
    SpecAugment,
    Tokens,
    check_counts,
    check_tokens,
    conv_blocks,
    encode,
    one_token,
    placed,
    recurrent,
)


def log_mel(
    x: KerasTensor,
    feature: Audio,
    name: str,
    *,
    mels: int = 64,
    window: float = 0.032,
    hop: float = 0.016,
    spec_augment: Mapping[str, Any] | None = None,
) -> KerasTensor:
    """The log-mel spectrogram of a recording, `(batch, mels, frames)`, float32, about -1.2 (silence) to 1.6.

    Args:
        x: `(batch, samples)`, float32 in [-1, 1].
        feature: `Audio`, for its rate.
        name: of the input, prefix of the layers' names.
        mels: number of mel bands from 20 Hz to half the rate.
        window: length of a frame, seconds; rounded up to a power of two of samples.
        hop: time from frame to frame, seconds.
        spec_augment: hides bands of mels and frames in training: a dict of the options of `mmkeras.layers.SpecAugment`,
            as {"frequency": 0.2, "time": 0.2}. None: no such layer. With it, the model is no longer made of stock
            Keras layers alone: `import mmkeras` before `keras.models.load_model`.

    Raises:
        InputError: wrong options of spec_augment; no mels; a window or hop shorter than a sample; a window of twice the
            recording or more.
    """
    check_counts(name, mels=mels)
    length = 1 << (_samples(window, feature, "window", name) - 1).bit_length()
    if length // 2 >= feature.samples:
        raise InputError(
            f"{name!r}: expected a window below twice the recording of {feature.samples} samples, received {length}"
        )
    mel = keras.layers.MelSpectrogram(
        fft_length=length,
        sequence_stride=_samples(hop, feature, "hop", name),
        sampling_rate=feature.sampling_rate,
        num_mel_bins=mels,
        top_db=1000.0,  # Keras clips relative to the loudest of the batch: with less, rows would affect each other
        dtype="float32",
        name=f"{name}_mel",
    )(x)
    # decibels from about -100 to 40 become about -1.2 to 1.6: float32 until here, whatever the policy
    mel = keras.layers.Rescaling(1 / 50, offset=0.8, dtype="float32", name=f"{name}_decibels")(mel)
    return mel if spec_augment is None else _spec_augment(spec_augment, name)(mel)


def _samples(seconds: float, feature: Audio, option: str, name: str) -> int:
    """Number of samples of an option in seconds."""
    if not is_number(seconds, least=1 / feature.sampling_rate):
        raise InputError(
            f"{name!r}: expected {option} to be seconds from {1 / feature.sampling_rate:.2g}, a sample at "
            f"{feature.sampling_rate} Hz, received {shown(seconds)}"
        )
    return round(feature.sampling_rate * seconds)


def _picture(mel: KerasTensor, name: str) -> KerasTensor:
    """The spectrogram as a picture of one channel, `(batch, mels, frames, 1)`."""
    return keras.layers.Reshape((*mel.shape[1:], 1), name=f"{name}_picture")(mel)


def spectrogram(
    x: KerasTensor,
    *,
    feature: Audio,
    width: int,
    name: str,
    mels: int = 64,
    window: float = 0.032,
    hop: float = 0.016,
    filters: int = 32,
    depth: int | None = None,
    dropout: float = 0.0,
    tokens: str = "one",
    spec_augment: Mapping[str, Any] | None = None,
) -> Tokens:
    """Convolutions over the log-mel spectrogram of a recording (Hershey et al., CNN architectures for audio, 2017).

    Args:
        x: `(batch, samples)`, float32 in [-1, 1].
        feature: `Audio`, for its rate.
        width: width of the tokens.
        name: of the input, prefix of the layers' names.
        mels, window, hop, spec_augment: of the spectrogram, see `log_mel`.
        filters: of the first convolution; each further one doubles them.
        depth: number of Conv2D layers of stride 2; None: until the shorter side is at most 4 places, at least 1.
        dropout: share of the flattened values dropped in training.
        tokens: "one" (flatten and dense) or "all" (one token a place of the last grid).

    Returns:
        `Tokens` of `(batch, 1 or places, width)`, no mask.

    Raises:
        InputError: an option out of its range.
    """
    mel = log_mel(x, feature, name, mels=mels, window=window, hop=hop, spec_augment=spec_augment)
    own: dict[str, Any] = {"filters": filters, "depth": depth, "dropout": dropout, "tokens": tokens}
    return conv_blocks(_picture(mel, name), width=width, **own, name=name, pool=False)


def spectrogram_lstm(
    x: KerasTensor,
    *,
    feature: Audio,
    width: int,
    name: str,
    mels: int = 64,
    window: float = 0.032,
    hop: float = 0.016,
    filters: int = 32,
    depth: int = 2,
    layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    tokens: str = "one",
    spec_augment: Mapping[str, Any] | None = None,
) -> Tokens:
    """Convolutions over the log-mel spectrogram, then LSTMs over time (Choi et al., Convolutional recurrent, 2017).

    The convolutions halve mels and frames by their stride; their outputs for all mels of a frame are one step of the
    LSTMs (the paper has max-pooling, batch normalisation and GRUs).

    Args:
        x: `(batch, samples)`, float32 in [-1, 1].
        feature: `Audio`, for its rate.
        width: width of the tokens and of each LSTM, both directions together.
        name: of the input, prefix of the layers' names.
        mels, window, hop, spec_augment: of the spectrogram, see `log_mel`.
        filters: of the first convolution; each further one doubles them.
        depth: number of Conv2D layers of stride 2.
        layers: number of stacked LSTMs.
        bidirectional: half of each LSTM's width reads from the end to the beginning.
        dropout: share of the values dropped in training before each LSTM.
        tokens: "one" (the state at the end) or "all" (the state at every step of `hop * 2**depth` seconds).

    Returns:
        `Tokens` of `(batch, 1, width)` or `(batch, frames / 2**depth, width)`, rounded up, no mask.

    Raises:
        InputError: an option out of its range.
    """
    check_counts(name, filters=filters, depth=depth)
    mel = log_mel(x, feature, name, mels=mels, window=window, hop=hop, spec_augment=spec_augment)
    # frames first: so the mels of a frame and their channels are side by side at the end
    x = _picture(keras.layers.Permute((2, 1), dtype="float32", name=f"{name}_frames")(mel), name)
    for block in range(depth):
        options = {"strides": 2, "padding": "same", "activation": "relu", "name": f"{name}_conv{block}"}
        x = keras.layers.Conv2D(filters * 2**block, 3, **options)(x)
    x = keras.layers.Reshape((x.shape[1], x.shape[2] * x.shape[3]), name=f"{name}_steps")(x)
    read: dict[str, Any] = {"layers": layers, "bidirectional": bidirectional, "dropout": dropout, "tokens": tokens}
    return recurrent(x, None, cell="lstm", width=width, name=name, **read)


def spectrogram_transformer(
    x: KerasTensor,
    *,
    feature: Audio,
    width: int,
    name: str,
    mels: int = 64,
    window: float = 0.032,
    hop: float = 0.016,
    patch: int = 8,
    depth: int = 2,
    heads: int = 4,
    dropout: float = 0.0,
    tokens: str = "one",
    spec_augment: Mapping[str, Any] | None = None,
) -> Tokens:
    """A transformer over square patches of the log-mel spectrogram (AST: Gong et al., 2021).

    The patches do not overlap, and sines encode their band and time (the paper's overlap by 6 of 16 and have learned
    positions). Patches at the edges are padded with -40 dB.

    Args:
        x: `(batch, samples)`, float32 in [-1, 1].
        feature: `Audio`, for its rate.
        width: width of the tokens.
        name: of the input, prefix of the layers' names.
        mels, window, hop, spec_augment: of the spectrogram, see `log_mel`.
        patch: mels and frames of a patch.
        depth: number of transformer layers.
        heads: of their attention; width is a multiple of it.
        dropout: share of the values dropped in training after each part of a layer.
        tokens: "one" (the mean of the patches) or "all" (one token a patch).

    Returns:
        `Tokens` of `(batch, 1 or patches, width)`, no mask.

    Raises:
        InputError: a width that is no multiple of heads, an option out of its range.
    """
    check_counts(name, patch=patch)
    mel = log_mel(x, feature, name, mels=mels, window=window, hop=hop, spec_augment=spec_augment)
    edges = tuple((0, -size % patch) for size in mel.shape[1:])
    x = keras.layers.ZeroPadding2D(edges, name=f"{name}_pad")(_picture(mel, name))
    rows, columns = (size // patch for size in x.shape[1:3])
    x = keras.layers.Reshape((rows, patch, columns, patch), name=f"{name}_cut")(x)
    x = keras.layers.Permute((1, 3, 2, 4), name=f"{name}_sorted")(x)
    x = keras.layers.Reshape((rows * columns, patch * patch), name=f"{name}_patches")(x)
    x = placed(x, width, name, grid=(rows, columns))
    return encode(x, None, depth=depth, heads=heads, dropout=dropout, tokens=tokens, name=name)


def waveform(
    x: KerasTensor,
    *,
    feature: Audio,
    width: int,
    name: str,
    window: float = 0.01,
    filters: int = 32,
    depth: int | None = None,
    dropout: float = 0.0,
    tokens: str = "one",
) -> Tokens:
    """Convolutions on the samples themselves (Dai et al., Very deep networks for raw waveforms, 2017).

    A first convolution as long as `window`, then convolutions of 9 steps, each quartering the steps and doubling the
    filters, all with layer normalisation (the paper has batch normalisation, and max-pooling instead of strides).
    One token is made of the mean and the maximum of each filter over time.

    Args:
        x: `(batch, samples)`, float32 in [-1, 1].
        feature: `Audio`, for its rate.
        width: width of the tokens.
        name: of the input, prefix of the layers' names.
        window: length of the first convolution, seconds; its stride is an eighth of it.
        filters: of the first convolution.
        depth: number of further convolutions; None: until at most 16 steps are left, at least 1.
        dropout: share of the values dropped in training before the last dense layer.
        tokens: "one" (mean and maximum, then dense) or "all" (one token a step of the last convolution).

    Returns:
        `Tokens` of `(batch, 1 or steps, width)`, no mask.

    Raises:
        InputError: an option out of its range.
    """
    check_tokens(tokens, name)
    check_counts(name, filters=filters)
    kernel = max(8, _samples(window, feature, "window", name))
    x = keras.layers.Reshape((feature.samples, 1), name=f"{name}_channel")(x)
    x = _normed_conv(x, filters, kernel, kernel // 8, f"{name}_conv0")
    if depth is None:
        depth = max(1, ((x.shape[1] - 1) // 16).bit_length() + 1 >> 1)
    check_counts(name, depth=depth)
    for block in range(1, depth + 1):
        x = _normed_conv(x, filters * 2**block, 9, 4, f"{name}_conv{block}")
    dense = keras.layers.Dense(width, activation="relu", name=f"{name}_dense")
    drop = keras.layers.Dropout(dropout, name=f"{name}_dropout") if dropout else lambda value: value
    if tokens == "all":
        return Tokens(dense(drop(x)))
    return one_token(dense(drop(ops.concatenate([ops.mean(x, axis=1), ops.max(x, axis=1)], axis=-1))))


def _normed_conv(x: KerasTensor, filters: int, kernel: int, stride: int, name: str) -> KerasTensor:
    x = keras.layers.Conv1D(filters, kernel, strides=stride, padding="same", name=name)(x)
    return keras.layers.ReLU(name=f"{name}_relu")(keras.layers.LayerNormalization(name=f"{name}_norm")(x))


def _spec_augment(options: Mapping[str, Any], name: str) -> Callable[[KerasTensor], KerasTensor]:
    known = ("frequency", "time", "masks", "seed")
    if not isinstance(options, Mapping):
        raise InputError(
            f"{name!r}: expected spec_augment to be a dict of {', '.join(known)}, received {shown(options)}"
        )
    for option in options:
        if option not in known:
            raise unknown("option of spec_augment:", option, known, where=f"{name!r}: ")
    return SpecAugment(**options, dtype="float32", name=f"{name}_spec_augment")
