"""Raw values to tensors, in TensorFlow's own ops: the one code that training and the served graph share.

A picture or recording is decoded row by row, so that one corrupt value costs its own row and no other: it comes back as
zeros with a status. Sentences and cells of numbers are read a batch at a time.

base       `Codec`, the one object for each kind
table      the codecs by kind: a kind of one's own joins them by `mk.decode.register`
rows       `FileCodec`: files decoded row by row
numbers    `NumbersCodec`: files of numbers
several    `SeveralCodec`: several files of one thing
codecs     the codecs of mmkeras, a kind a file
image, audio, video, series, text, tabular    the ops that they are made of
chunks     many values, a chunk at a time
"""

from mmkeras.decode import codecs  # noqa: F401 (enters them in the table)
from mmkeras.decode._backends import backends
from mmkeras.decode.base import OK, UNREADABLE, Codec, Decoded, Decoder
from mmkeras.decode.chunks import in_chunks
from mmkeras.decode.numbers import NumbersCodec
from mmkeras.decode.rows import FileCodec
from mmkeras.decode.table import CODECS, codec_of, decoder, register

__all__ = [
    "CODECS",
    "OK",
    "UNREADABLE",
    "Codec",
    "Decoded",
    "Decoder",
    "FileCodec",
    "NumbersCodec",
    "backends",
    "codec_of",
    "decoder",
    "in_chunks",
    "register",
]


def __dir__() -> list[str]:
    """The public names."""
    return __all__
