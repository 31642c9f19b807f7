"""What is given to a model: a picture, a recording, a sentence, a sensor trace, a row of numbers or a video.

`files`: whether a kind's cells are paths; `padded`: whether its values differ in length (`<name>_length`).
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, replace
from numbers import Integral, Real

import numpy as np

from mmkeras.errors import InputError, unknown
from mmkeras.targets import as_words

FITS = ("stretch", "crop", "pad")


def check_positive(part, kind, *names):
    """Raise an `InputError` unless these fields are finite numbers above 0 of the kind; NumPy's become Python's."""
    what = "a whole number" if kind is int else "a number"
    for name in names:
        value = getattr(part, name)
        right = isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
        if not right or not 0 < value < math.inf:
            raise InputError(f"{type(part).__name__}: expected {name} to be {what} above 0, received {value!r}")
        object.__setattr__(part, name, kind(value))


def check_switches(part, *names):
    """Raise an `InputError` unless these fields are True or False."""
    for name in names:
        if not isinstance(getattr(part, name), bool):
            raise InputError(
                f"{type(part).__name__}: expected {name} to be True or False, received {getattr(part, name)!r}"
            )


def _check_picture(part):
    check_positive(part, int, "height", "width", "max_pixels")
    check_switches(part, "shared", "optional")
    kind = type(part).__name__
    if part.channels not in (1, 3):
        raise InputError(f"{kind}: expected channels to be 1 or 3, received {part.channels!r}")
    if part.fit not in FITS:
        raise unknown("value of fit", part.fit, FITS, where=f"{kind}: ")


def _numbers(part, name, size):
    """A field of `size` finite numbers, or None, as a tuple of float."""
    values = getattr(part, name)
    if values is None:
        return
    kind = type(part).__name__
    values = tuple(values) if isinstance(values, Iterable) else values
    right = isinstance(values, tuple) and all(isinstance(v, Real) and math.isfinite(v) for v in values)
    if not right or len(values) != size:
        raise InputError(f"{kind}: expected {name} to be {size} finite numbers, received {values!r}")
    if name.startswith("deviation") and min(values, default=1) <= 0:
        raise InputError(f"{kind}: expected {name} to be above 0, received {values!r}")
    object.__setattr__(part, name, tuple(float(v) for v in values))


@dataclass(frozen=True)
class Image:
    """A picture from a JPEG, PNG, GIF, BMP or WebP file, brought to one size.

    The model receives `(batch, height, width, channels)`, uint8, 0 to 255.

    Args:
        height, width: size in pixels.
        channels: 1 (grey) or 3 (red, green, blue).
        fit: how a picture of another shape becomes that size: "stretch"; "crop" (scaled until it covers the size, the
            middle kept); "pad" (scaled until it fits into the size, in the middle of black).
        max_pixels: a file with more is refused before it is decoded, however small it is (a decompression bomb).
        shared: many rows name one picture: `batches(..., group_by=...)` then gives each distinct one once.
        optional: whether cells may be empty.
        column: the table's column that names the file; None: the input's own name.
    """

    height: int
    width: int
    channels: int = 3
    _: KW_ONLY
    fit: str = "stretch"
    max_pixels: int = 100_000_000
    shared: bool = False
    optional: bool = False
    column: str | None = None
    dtype = "uint8"
    files = True
    padded = False

    def __post_init__(self):
        _check_picture(self)

    @property
    def shape(self):
        """`(height, width, channels)`."""
        return (self.height, self.width, self.channels)


@dataclass(frozen=True)
class Audio:
    """A recording from a WAV (PCM or float), FLAC, OGG or MP3 file, cut or filled with silence to one duration.

    The model receives `(batch, samples)`, float32 in [-1, 1]; several channels are averaged.

    Args:
        rate: samples a second, hertz; a file of another rate is resampled.
        seconds: duration.
        longest: seconds kept of a longer file, of which training takes `seconds` from another place in every epoch;
            None: the beginning always, as evaluation and the served model do.
        trim: silence before the first and after the last sample louder than this (0 to 1) is cut off; None: kept.
        fade: seconds of linear fading in and out, after trimming.
        shared: many rows name one recording: `batches(..., group_by=...)` then gives each distinct one once.
        optional: whether cells may be empty.
        column: the table's column that names the file; None: the input's own name.
    """

    rate: int
    seconds: float
    _: KW_ONLY
    longest: float | None = None
    trim: float | None = None
    fade: float | None = None
    shared: bool = False
    optional: bool = False
    column: str | None = None
    dtype = "float32"
    files = True
    padded = False

    def __post_init__(self):
        check_positive(self, int, "rate")
        check_positive(self, float, "seconds")
        check_positive(self, float, *(name for name in ("longest", "trim", "fade") if getattr(self, name) is not None))
        check_switches(self, "shared", "optional")
        if self.samples < 1:
            raise InputError(f"Audio: {self.seconds} s at {self.rate} Hz is less than one sample")
        if self.longest is not None and self.longest < self.seconds:
            raise InputError(
                f"Audio: expected longest to be at least seconds={self.seconds:g}, received {self.longest:g}"
            )
        if self.trim is not None and self.trim >= 1:
            raise InputError(f"Audio: expected trim to be below 1, received {self.trim:g}")

    @property
    def samples(self):
        """Number of samples."""
        return round(self.rate * self.seconds)

    @property
    def shape(self):
        """`(samples,)`."""
        return (self.samples,)


@dataclass(frozen=True)
class Text:
    """A sentence, as numbers of words: lower case, without punctuation, cut or padded at its end to one length.

    The model receives `(batch, length)`, int32: 0 padding, 1 a word outside the vocabulary, from 2 on the vocabulary.

    Args:
        length: number of words kept.
        vocabulary: the words in the order of their numbers; None: taken from the training rows, most frequent first.
        limit: most words that fitting takes.
        optional: whether cells may be empty.
        column: the table's column; None: the input's own name.
    """

    length: int
    vocabulary: tuple[str, ...] | None = None
    limit: int = 20_000
    _: KW_ONLY
    optional: bool = False
    column: str | None = None
    dtype = "int32"
    files = False
    padded = False
    shared = False

    def __post_init__(self):
        check_positive(self, int, "length", "limit")
        check_switches(self, "optional")
        words = as_words("Text", "vocabulary", self.vocabulary)
        if words is not None and not words:
            raise InputError("Text: expected at least one word in vocabulary, received none")
        for word in words or ():
            if not word or word.split() != [word] or word == "[UNK]":
                raise InputError(f"Text: expected words without spaces in vocabulary, received {word!r}")
        object.__setattr__(self, "vocabulary", words)

    @property
    def shape(self):
        """`(length,)`."""
        return (self.length,)

    @property
    def tokens(self):
        """Number of different token ids, padding and the unknown word among them."""
        return len(self.vocabulary) + 2

    @property
    def fitted(self):
        """Whether the vocabulary is known."""
        return self.vocabulary is not None

    def fit(self, words):
        """A copy whose vocabulary is the most frequent of `words`: str with repetitions, or a dict of their counts."""
        return replace(self, vocabulary=_most_frequent(words, self.limit))


def _most_frequent(words, limit):
    counted = sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))
    return tuple(word for word, _ in counted[:limit])


@dataclass(frozen=True)
class Series:
    """A trace of one or more sensors over time, from a .npy file or a CSV file of numbers, one row a step.

    The model receives `(batch, length, channels)`, float32 in the sensors' units, and `<name>_length` `(batch,)` int32:
    how many steps there are; behind them are zeros. What is longer is cut at its end.

    Args:
        length: number of steps kept.
        channels: values at each step.
        means, deviations: of each channel, with which towers standardise; None: taken from (at most 1,000 files of) the
            training rows.
        shared: many rows name one trace: `batches(..., group_by=...)` then gives each distinct one once.
        optional: whether cells may be empty.
        column: the table's column that names the file; None: the input's own name.
    """

    length: int
    channels: int = 1
    means: tuple[float, ...] | None = None
    deviations: tuple[float, ...] | None = None
    _: KW_ONLY
    shared: bool = False
    optional: bool = False
    column: str | None = None
    dtype = "float32"
    files = True
    padded = True

    def __post_init__(self):
        check_positive(self, int, "length", "channels")
        check_switches(self, "shared", "optional")
        _numbers(self, "means", self.channels)
        _numbers(self, "deviations", self.channels)

    @property
    def shape(self):
        """`(length, channels)`."""
        return (self.length, self.channels)

    @property
    def fitted(self):
        """Whether means and deviations are known."""
        return self.means is not None and self.deviations is not None

    def fit(self, steps):
        """A copy with the means and deviations of `steps` `(any, channels)` that were not given."""
        if not len(steps):
            raise InputError("Series: expected at least one step to fit on, found none")
        means, deviations = steps.mean(axis=0, dtype="float64"), steps.std(axis=0, dtype="float64")
        return replace(
            self,
            means=self.means or tuple(means.tolist()),
            deviations=self.deviations or tuple((deviations + (deviations == 0)).tolist()),
        )


@dataclass(frozen=True)
class Tabular:
    """Several columns of numbers and of words from a fixed list, as one input.

    A cell may be empty: a hole. The model receives `(batch, 2 * numeric + categorical)`, float32: the numbers in their
    own units, 0 at a hole; then for each number 1, or 0 at a hole; then the numbers of the words: 0 a hole, 1 a word
    that training did not see, from 2 on the vocabulary. With `optional=True` a row whose cells are all empty is absent.

    Args:
        numeric: names of the columns that hold numbers.
        categorical: names of the columns that hold one of several words.
        means, deviations: of each column of numbers, with which towers standardise (a hole becomes the mean); None:
            taken from the training rows.
        vocabularies: the words of each categorical column; None: taken from the training rows, most frequent first.
        limit: most words that fitting takes for one column.
        optional: whether a row's cells may all be empty.
    """

    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    means: tuple[float, ...] | None = None
    deviations: tuple[float, ...] | None = None
    vocabularies: tuple[tuple[str, ...], ...] | None = None
    _: KW_ONLY
    limit: int = 1_000
    optional: bool = False
    dtype = "float32"
    files = False
    padded = False
    shared = False

    def __post_init__(self):
        for name in ("numeric", "categorical"):
            object.__setattr__(self, name, as_words("Tabular", name, getattr(self, name)))
        as_words("Tabular", "columns", self.columns)
        if not self.columns:
            raise InputError("Tabular: expected at least one column in numeric or categorical, received none")
        check_positive(self, int, "limit")
        check_switches(self, "optional")
        _numbers(self, "means", len(self.numeric))
        _numbers(self, "deviations", len(self.numeric))
        if self.vocabularies is not None:
            words = tuple(as_words("Tabular", "vocabularies", words) for words in self.vocabularies)
            if len(words) != len(self.categorical) or any("" in one for one in words):
                raise InputError(
                    f"Tabular: expected vocabularies to be a list of words for each of {list(self.categorical)}, "
                    f"received {self.vocabularies!r}"
                )
            object.__setattr__(self, "vocabularies", words)

    @property
    def columns(self):
        """All columns: first those of numbers, then those of words."""
        return self.numeric + self.categorical

    @property
    def shape(self):
        """`(2 * numeric + categorical,)`."""
        return (2 * len(self.numeric) + len(self.categorical),)

    @property
    def fitted(self):
        """Whether means, deviations and vocabularies are known."""
        return None not in (self.means, self.deviations, self.vocabularies)

    def fit(self, cells):
        """A copy fitted on `cells`, an array `(rows,)` for each column: float (NaN a hole) or str ("" a hole)."""
        count = len(self.numeric)
        for name, column in zip(self.numeric, cells[:count], strict=True):
            if np.isnan(column).all():
                raise InputError(f"Tabular: expected numbers in {name!r} to fit on, found none")
        words = tuple(_most_frequent(filter(None, column), self.limit) for column in cells[count:])
        return replace(
            self,
            means=self.means or tuple(float(np.nanmean(column)) for column in cells[:count]),
            deviations=self.deviations or tuple(float(np.nanstd(column)) or 1.0 for column in cells[:count]),
            vocabularies=self.vocabularies or words,
        )


@dataclass(frozen=True)
class Video:
    """A short video from a GIF, an animated WebP, a folder of pictures, a .npy file or (with PyAV) an MP4 file.

    The model receives `(batch, frames, height, width, channels)`, uint8, and `<name>_length` `(batch,)` int32: how many
    frames there are; behind them are zeros. Of a video with more frames as many are taken at even distances.

    Args:
        frames: most frames kept.
        height, width: size of a frame in pixels.
        channels: 1 (grey) or 3 (red, green, blue).
        fit: how frames of another shape become that size, as in `Image`.
        max_pixels: a file with more in all its frames together is refused before it is decoded.
        shared: many rows name one video: `batches(..., group_by=...)` then gives each distinct one once.
        optional: whether cells may be empty.
        column: the table's column that names the file or folder; None: the input's own name.
    """

    frames: int
    height: int
    width: int
    channels: int = 3
    _: KW_ONLY
    fit: str = "stretch"
    max_pixels: int = 300_000_000
    shared: bool = False
    optional: bool = False
    column: str | None = None
    dtype = "uint8"
    files = True
    padded = True

    def __post_init__(self):
        check_positive(self, int, "frames")
        _check_picture(self)

    @property
    def shape(self):
        """`(frames, height, width, channels)`."""
        return (self.frames, self.height, self.width, self.channels)


INPUTS = {kind.__name__: kind for kind in (Image, Audio, Text, Series, Tabular, Video)}
