"""Raw values to tensors, in TensorFlow's own ops: the one code that training and the served graph share.

A picture or recording is decoded row by row, so that one corrupt value costs its own row and no other: it comes back as
zeros with a status. Sentences and cells of numbers are read a batch at a time.

base       `Codec`, the one object for each kind; the table of them
rows       `FileCodec`: files decoded row by row
numbers    `NumbersCodec`: files of numbers
codecs     the codecs of mmkeras, a kind a file
image, audio, video, series, text, tabular    the ops that they are made of
chunks     many values, a chunk at a time
"""

from mmkeras.decode import codecs  # noqa: F401 (enters them in the table)
from mmkeras.decode._backends import backends
from mmkeras.decode.base import CODECS, OK, UNREADABLE, Codec, Decoded, Decoder, codec_of, decoder, register
from mmkeras.decode.chunks import in_chunks
from mmkeras.decode.numbers import NumbersCodec
from mmkeras.decode.rows import FileCodec

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
