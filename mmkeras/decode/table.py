"""The table of codecs, and who looks up there."""

from typing import Any

from mmkeras.decode.base import Codec, Decoder
from mmkeras.decode.several import SeveralCodec
from mmkeras.registry import Kinds

CODECS = Kinds("codec", Codec, "mmkeras.decode")

register = CODECS.register


def codec_of(part: Any) -> Codec:
    """The codec of an input or target of a schema, or of a kind. Raises `InputError` for a kind without one."""
    codec = CODECS.of(part)
    return codec if isinstance(part, type) or part.views is None else SeveralCodec(codec)


def decoder(feature: Any, files: bool = False) -> Decoder:
    """How the values of an input are decoded: those that a client sends, or with `files` the cells of a table."""
    codec = codec_of(feature)
    return codec.from_files(feature) if files else codec.from_wire(feature)
