"""Towers for recordings."""

from collections.abc import Mapping

import keras

from mmkeras.errors import InputError, unknown
from mmkeras.layers import SpecAugment, conv_blocks
from mmkeras.schema import Audio


def spectrogram(
    x,
    *,
    feature: Audio,
    width,
    name,
    mels=64,
    window=0.032,
    hop=0.016,
    filters=32,
    depth=None,
    dropout=0.0,
    tokens="one",
    spec_augment=None,
):
    """Convolutions over the log-mel spectrogram of a recording.

    Args:
        x: `(batch, samples)`, float32 in [-1, 1].
        feature: `Audio`, for its rate.
        width: width of the tokens.
        name: of the input, prefix of the layers' names.
        mels: number of mel bands from 20 Hz to half the rate.
        window: length of a frame, seconds; rounded up to a power of two of samples.
        hop: time from frame to frame, seconds.
        filters: of the first convolution; each further one doubles them.
        depth: number of Conv2D layers of stride 2; None: until the shorter side is at most 4 places, at least 1.
        dropout: share of the flattened values dropped in training.
        tokens: "one" (flatten and dense) or "all" (one token a place of the last grid).
        spec_augment: hides bands of mels and frames in training: a dict of the options of `mmkeras.layers.SpecAugment`,
            as {"frequency": 0.2, "time": 0.2}. None: no such layer. With it, `import mmkeras.layers` before
            `keras.models.load_model`: the model is no longer made of stock Keras layers alone.

    Returns:
        `Tokens` of `(batch, 1 or places, width)`, no mask.
    """
    length = 1 << (round(feature.rate * window) - 1).bit_length()
    mel = keras.layers.MelSpectrogram(
        fft_length=length,
        sequence_stride=round(feature.rate * hop),
        sampling_rate=feature.rate,
        num_mel_bins=mels,
        top_db=1000.0,  # Keras cuts this far below the loudest of the whole batch: rows would hear each other
        dtype="float32",
        name=f"{name}_mel",
    )(x)
    # decibels from about -100 to 40 become about -1.2 to 1.6: float32 until here, whatever the policy
    mel = keras.layers.Rescaling(1 / 50, offset=0.8, dtype="float32", name=f"{name}_decibels")(mel)
    if spec_augment is not None:
        mel = _spec_augment(spec_augment, name)(mel)
    mel = keras.layers.Reshape((*mel.shape[1:], 1), name=f"{name}_picture")(mel)
    return conv_blocks(
        mel, width=width, filters=filters, depth=depth, dropout=dropout, tokens=tokens, name=name, pool=False
    )


def _spec_augment(options, name):
    known = ("frequency", "time", "masks", "seed")
    if not isinstance(options, Mapping):
        raise InputError(f"{name!r}: expected spec_augment to be a dict of {', '.join(known)}, received {options!r}")
    for option in options:
        if option not in known:
            raise unknown("option of spec_augment:", option, known, where=f"{name!r}: ")
    return SpecAugment(**options, dtype="float32", name=f"{name}_spec_augment")
