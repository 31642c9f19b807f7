"""Recordings: mono, one rate, one duration.

WAV of every PCM and float kind is read by TensorFlow ops, in training and in the served graph alike. FLAC, OGG and MP3
are read by soundfile, in training only: a served graph may hold no such code, so a client sends WAV. Silence is cut off
and ends are faded by tensorflow-io's functions of TensorFlow's own ops, in both.
"""

import functools
import io
import math
import struct
from collections.abc import Callable

import numpy as np
import soundfile
import tensorflow as tf

from mmkeras.decode._backends import waveform_ops
from mmkeras.decode.graph import apart, from_numpy
from mmkeras.inputs import Audio

# the first bytes of a WAV file with one channel of 16 bits and nothing beside its sound
USUAL = rb"RIFF\C{4}WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\C{8}\x02\x00\x10\x00data\C{4}"
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
ZERO_CROSSINGS = 64  # of the sinc on either side
KAISER = 8.0  # shape of the window: side lobes at -80 dB
RATE = 1_000_000  # hertz, of the fastest recording: the filters of others would be endless
CHUNKS = 1000  # most parts of a WAV file that are stepped over in search of its samples
PASSBAND = 0.92  # share of the lower Nyquist frequency that passes unchanged
LONGEST = 2**29  # samples of all channels that a FLAC, OGG or MP3 may hold: silence of any length is a small file
WEIGHTS = 2**20  # the most that are held at once to resample


def decode_audio(raw: tf.Tensor, feature: Audio, read: Callable | None = None) -> tuple[tf.Tensor, tf.Tensor]:
    """One recording.

    Args:
        raw: scalar string, the bytes of a file of any rate.
        feature: `Audio`; its `longest` is left to the caller.
        read: `wav` (the default) or `any_file`, which is not for a served graph.

    Returns:
        `(samples,)`, float32 in [-1, 1]: channels averaged, then trimmed and faded as a whole, resampled to the
        feature's rate where the file has another, the end cut off or filled with zeros; and the length, scalar int32:
        how many of the samples are the recording's, 0 if trimming found silence alone.

    Raises:
        tf.errors.InvalidArgumentError: bytes that are no such file, samples that are not finite, or more seconds than
            `feature.max_seconds`.
        InputError: the feature trims or fades, and tensorflow-io is not installed.
    """
    if feature.trim is not None or feature.fade is not None:
        return _decode_any(feature, read or wav)(raw)
    header = tf.strings.substr(raw, 0, 44)
    size = tf.io.decode_raw(tf.strings.substr(tf.strings.join([header, b"\0" * 44]), 40, 4), tf.int32)[0]
    usual = tf.strings.regex_full_match(header, USUAL) & (size > 0) & (size <= tf.strings.length(raw) - 44)
    usual &= size // 2 <= int(min(feature.max_seconds * feature.sampling_rate, 2**30))
    usual &= tf.strings.substr(header, 24, 4) == struct.pack("<I", feature.sampling_rate)
    return tf.cond(usual, lambda: _decode_usual(raw, size, feature), lambda: _decode_any(feature, read or wav)(raw))


def _decode_usual(raw, size, feature):
    """The same of a WAV file of one channel, 16 bits and the model's rate, with `size` bytes of sound and no more."""
    length = tf.minimum(size // 2, feature.samples)
    wave = tf.cast(tf.io.decode_raw(tf.strings.substr(raw, 44, 2 * length), tf.int16), tf.float32) / 2.0**15
    return tf.ensure_shape(tf.pad(wave, [[0, feature.samples - length]]), feature.shape), length


@functools.cache
def _decode_any(feature, read):
    """A function from the bytes of any recording to what `decode_audio` gives."""
    return apart(lambda raw: _decode(raw, feature, read), tf.TensorSpec([], tf.string))


def _decode(raw, feature, read):
    wave, rate = read(raw, feature.max_seconds)
    needed = tf.cast(feature.samples + 2 * ZERO_CROSSINGS, tf.int64) * tf.cast(rate, tf.int64) // feature.sampling_rate
    needed += 2 * ZERO_CROSSINGS  # what the end of the window needs, of whichever rate
    if feature.trim is None and feature.fade is None:
        wave = wave[:needed]
    wave = tf.reduce_mean(wave, axis=-1)
    if feature.trim is not None:
        wave = _trim(wave, feature.trim)
    if feature.fade is not None:
        wave = _fade(wave, feature.fade * tf.cast(rate, tf.float32))
    wave = resample(wave[:needed], rate, feature.sampling_rate, feature.samples)
    wave = tf.debugging.check_numerics(wave, "expected samples of which sums are finite")
    wave = tf.clip_by_value(wave[: feature.samples], -1.0, 1.0)
    length = tf.size(wave)
    return tf.ensure_shape(tf.pad(wave, [[0, feature.samples - length]]), feature.shape), length


def announces_longer(raw: tf.Tensor, seconds: float) -> tf.Tensor:
    """Whether a WAV file, scalar string, is longer than these seconds: scalar bool. Raises as `wav`."""
    return _is_longer(_contents(raw), seconds)


def _is_longer(contents, seconds):
    """Whether what `_contents` found is; before its bytes become numbers."""
    data, _, channels, bits, rate = contents
    size = tf.cast(channels, tf.int64) * tf.cast(tf.maximum(bits, 1), tf.int64)
    samples = 8 * tf.cast(tf.strings.length(data), tf.int64) // size
    return tf.cast(samples, tf.float64) > seconds * tf.cast(rate, tf.float64)


def _trim(wave, threshold):
    """The samples `(any,)` from the first to the last whose absolute value is above the threshold; perhaps none."""

    def cut():
        start, stop = tf.unstack(waveform_ops().trim(tf.abs(wave), axis=0, epsilon=threshold))
        return wave[start:stop]

    return tf.cond(tf.size(wave) > 0, cut, lambda: wave)  # trim refuses no samples, and holds negative ones for silence


def _fade(wave, steps):
    """Samples `(any,)` that rise from 0 over their first `steps` and fall to 0 over their last; at most over halves."""
    steps = tf.cast(tf.minimum(tf.round(steps), tf.cast(tf.size(wave) // 2, tf.float32)), tf.int32)
    return tf.ensure_shape(waveform_ops().fade(wave, fade_in=steps, fade_out=steps, mode="linear"), (None,))


def any_file(raw: tf.Tensor, longest: float = math.inf) -> tuple[tf.Tensor, tf.Tensor]:
    """Samples and rate, as `wav` gives them, of a WAV, FLAC, OGG or MP3 file."""

    def others():
        wave, rate = from_numpy(functools.partial(_soundfile, longest=longest), [raw], (tf.float32, tf.int32))
        return tf.ensure_shape(wave, (None, None)), tf.ensure_shape(rate, ())

    return tf.cond(tf.strings.substr(raw, 0, 4) == b"RIFF", lambda: wav(raw, longest), others)


def _soundfile(raw, longest):
    try:
        with soundfile.SoundFile(io.BytesIO(raw)) as file:
            count, rate = file.frames * file.channels, file.samplerate
            if count > LONGEST:
                raise ValueError(f"expected at most {LONGEST:,} samples, found {count:,} in {len(raw):,} bytes")
            if file.frames > longest * rate:
                raise ValueError(f"expected at most {longest:g} seconds, found {file.frames / rate:,.0f}")
            wave = file.read(dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(str(error)) from error
    if not wave.size:
        raise ValueError("expected samples, found none")
    if not np.isfinite(wave).all():
        raise ValueError("expected finite samples")
    return wave, np.int32(rate)


def wav(raw: tf.Tensor, longest: float = math.inf) -> tuple[tf.Tensor, tf.Tensor]:
    """A WAV file's samples and rate.

    Args:
        raw: scalar string, RIFF WAVE: PCM of 8, 16, 24 or 32 bits, float of 32 or 64, plain or extensible header.
        longest: seconds; a longer one is refused.

    Returns:
        `(samples, channels)` float32, full scale at -1 and 1, and the rate, scalar int32, hertz.

    Raises:
        tf.errors.InvalidArgumentError: bytes that are no such file, or a longer one, or samples that are not finite.
    """
    found = _contents(raw)
    short = tf.debugging.Assert(tf.logical_not(_is_longer(found, longest)), ["more seconds than", longest])
    with tf.control_dependencies([short] if short is not None else []):
        data, kind, channels, bits, rate = [tf.identity(part) for part in found]
    flat = _samples(data, kind, bits)
    whole = tf.size(flat) // channels * channels
    return tf.reshape(flat[:whole], (-1, channels)), rate


def _contents(raw):
    """The bytes of a WAV file's samples; the kind of these, how many channels, their bits; the rate."""
    riff = tf.debugging.Assert(
        tf.logical_and(tf.strings.substr(raw, 0, 4) == b"RIFF", tf.strings.substr(raw, 8, 4) == b"WAVE"),
        ["expected a RIFF WAVE file"],
    )
    with tf.control_dependencies([riff] if riff is not None else []):
        fmt, data = _chunks(raw)
    fields = tf.cast(tf.io.decode_raw(tf.strings.substr(fmt, 0, 16), tf.uint16), tf.int32)
    kind, channels, bits = fields[0], fields[1], fields[7]
    rate = fields[2] + fields[3] * 65536
    extended = tf.strings.substr(tf.strings.join([fmt, b"\0" * 26]), 24, 2)
    kind = tf.where(kind == EXTENSIBLE, tf.cast(tf.io.decode_raw(extended, tf.uint16)[0], tf.int32), kind)
    sound = (channels > 0) & (rate > 0) & (rate <= RATE) & (tf.strings.length(data) > 0)
    known = tf.debugging.Assert(sound, ["expected channels, a rate and samples; received the header", fields])
    with tf.control_dependencies([known] if known is not None else []):
        # the rate too only behind the check: of a negative one, resampling would work out endless filters
        return [tf.identity(part) for part in (data, kind, channels, bits, rate)]


def _chunks(raw):
    """The contents of the chunks "fmt " and "data"; the size of a stream, 0xFFFFFFFF, means up to the end."""
    length = tf.strings.length(raw)

    def more(position, fmt, data):
        return tf.logical_and(position + 8 <= length, data == b"")

    def step(position, fmt, data):
        name = tf.strings.substr(raw, position, 4)
        size = tf.io.decode_raw(tf.strings.substr(raw, position + 4, 4), tf.int32)[0]
        size = tf.where(size == -1, length - position - 8, size)
        whole = tf.debugging.Assert(tf.logical_and(size >= 0, size <= length - position - 8), ["a file cut short"])
        with tf.control_dependencies([whole] if whole is not None else []):
            content = tf.strings.substr(raw, position + 8, size)
        fmt, data = tf.where(name == b"fmt ", content, fmt), tf.where(name == b"data", content, data)
        return position + 8 + size + size % 2, fmt, data

    start = (tf.constant(12), tf.constant(b""), tf.constant(b""))
    _, fmt, data = tf.while_loop(more, step, start, maximum_iterations=CHUNKS)
    return fmt, data


def _samples(data, kind, bits):
    def take(width):
        return tf.strings.substr(data, 0, tf.strings.length(data) // width * width)

    def integers(dtype, width):
        return tf.cast(tf.io.decode_raw(take(width), dtype), tf.float32) / 2.0 ** (8 * width - 1)

    def three_bytes():
        parts = tf.reshape(tf.cast(tf.io.decode_raw(take(3), tf.uint8), tf.int32), (-1, 3))
        value = parts[:, 0] + parts[:, 1] * 2**8 + parts[:, 2] * 2**16
        return tf.cast(value - tf.where(value >= 2**23, 2**24, 0), tf.float32) / 2.0**23

    def floats(dtype, width):
        values = tf.cast(tf.io.decode_raw(take(width), dtype), tf.float32)
        return tf.debugging.check_numerics(values, "expected finite samples")

    def refused():
        wrong = tf.debugging.Assert(
            False, ["expected PCM of 8, 16, 24, 32 bits or float of 32, 64; received", kind, bits]
        )
        with tf.control_dependencies([wrong]):
            return tf.zeros([0])

    kinds = {
        (PCM, 8): lambda: (tf.cast(tf.io.decode_raw(data, tf.uint8), tf.float32) - 128) / 128,
        (PCM, 16): lambda: integers(tf.int16, 2),
        (PCM, 24): three_bytes,
        (PCM, 32): lambda: integers(tf.int32, 4),
        (FLOAT, 32): lambda: floats(tf.float32, 4),
        (FLOAT, 64): lambda: floats(tf.float64, 8),
    }
    found = tf.argmax([tf.logical_and(kind == k, bits == b) for k, b in kinds] + [True], output_type=tf.int32)
    return tf.switch_case(found, [*kinds.values(), refused])


def resample(wave: tf.Tensor, rate: tf.Tensor, wanted: int, most: int = 2**31 - 1) -> tf.Tensor:
    """Band-limited resampling by a sinc under a Kaiser window.

    Args:
        wave: `(samples,)`, float32.
        rate: its rate, scalar int32, hertz.
        wanted: the rate asked for, int, hertz.
        most: samples after which nothing is worked out where the rates differ.

    The filter's phases are worked out once, and the outputs are matrix products of samples and phases; for rates with
    so little in common that these would be over `WEIGHTS` numbers (7999 and 8000), every output's filter is worked out
    anew, some at a time: slower by one to two orders, in bounded memory too.

    Returns:
        `(min(round(samples * wanted / rate), most),)`, float32. Below 92 % of the lower of both Nyquist frequencies the
        error is under 1e-3 of full scale (but for the first and last milliseconds); what lies above the new one is
        removed.
    """
    return tf.cond(rate == wanted, lambda: wave, lambda: _sinc(wave, rate, wanted, most))


def _sinc(wave, rate, wanted, most):
    step = tf.cast(rate, tf.float64) / wanted
    cutoff = tf.minimum(tf.ones_like(step), 1 / step) * (1 + PASSBAND) / 2  # in the middle of the slope
    half = tf.cast(tf.math.ceil(ZERO_CROSSINGS / cutoff), tf.int32)
    cutoff = tf.cast(cutoff, tf.float32)
    count = tf.cast(tf.minimum(tf.round(tf.cast(tf.size(wave), tf.float64) / step), most), tf.int32)
    common, _ = tf.while_loop(lambda a, b: b > 0, lambda a, b: (b, a % b), (rate, tf.constant(wanted)))
    phases, period = wanted // common, rate // common
    periods = -(-2 * half // period)  # a block, so that the filters of its outputs end in the next one
    size = 2 * tf.cast(periods, tf.int64) ** 2 * tf.cast(period, tf.int64) * tf.cast(phases, tf.int64)
    return tf.cond(
        size <= WEIGHTS,
        lambda: _by_phases(wave, phases, period, periods, cutoff, half, count),
        lambda: _one_by_one(wave, step, cutoff, half, count),
    )


def _by_phases(wave, phases, period, periods, cutoff, half, count):
    """The outputs, of which `periods * phases` are made of each block of `periods * period` samples and its next."""
    block, outputs = periods * period, tf.minimum(periods * phases, count)
    place = tf.range(tf.minimum(phases, count)) * period % phases / phases  # float64, between two samples
    filters = _weights(place[:, None] - tf.cast(tf.range(1 - half, half + 1), tf.float64), cutoff, half)
    output = tf.range(outputs)
    tap = tf.range(2 * block)[:, None] - output * period // phases
    at = output % phases * (2 * half + 2) + tf.clip_by_value(tap, -1, 2 * half) + 1
    table = tf.gather(tf.reshape(tf.pad(filters, [[0, 0], [1, 1]]), [-1]), at)
    blocks = -(-count // tf.maximum(outputs, 1)) + 1
    wave = wave[: blocks * block - half + 1]
    wave = tf.pad(wave, [[half - 1, blocks * block - half + 1 - tf.size(wave)]])
    wave = tf.reshape(wave, (blocks, block))
    return tf.reshape(wave[:-1] @ table[:block] + wave[1:] @ table[block:], [-1])[:count]


def _one_by_one(wave, step, cutoff, half, count):
    """The outputs, each by a filter of its own."""
    block = tf.clip_by_value(count, 1, tf.maximum(WEIGHTS // (2 * half), 1))
    samples = tf.size(wave)

    def some(start):
        place = tf.cast(start + tf.range(block), tf.float64) * step
        middle = tf.cast(tf.math.floor(place), tf.int32)
        near = tf.range(tf.maximum(1 - half, -middle[-1]), tf.minimum(1 + half, samples - middle[0]))  # and in the wave
        index = middle[:, None] + near
        weights = _weights(place[:, None] - tf.cast(index, tf.float64), cutoff, half)
        within = tf.clip_by_value(index, 0, samples - 1)
        return tf.einsum("ot,ot->o", tf.where(index == within, tf.gather(wave, within), 0.0), weights)

    starts = tf.range(0, tf.maximum(count, 1), block)
    found = tf.map_fn(some, starts, fn_output_signature=tf.float32, parallel_iterations=1)
    return tf.reshape(found, [-1])[:count]


def _weights(distance, cutoff, half):
    """Of samples at these distances, float64, from an output."""
    distance = tf.cast(distance, tf.float32)
    inside = 1 - tf.square(distance / tf.cast(half, tf.float32))
    beta = tf.constant(KAISER)
    window = (
        tf.math.bessel_i0e(beta * tf.sqrt(tf.maximum(inside, 0)))
        * tf.exp(beta * tf.sqrt(tf.maximum(inside, 0)) - beta)
        / tf.math.bessel_i0e(beta)
    )
    phase = 3.14159265358979 * cutoff * distance
    kernel = cutoff * tf.math.divide_no_nan(tf.sin(phase), phase) + tf.where(distance == 0, cutoff, 0.0)
    return kernel * tf.where(inside > 0, window, 0.0)
