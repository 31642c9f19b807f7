from . import datasets, decode, fusion, heads, layers, serving, towers
from .bundle import export
from .errors import InputError
from .evaluation import Evaluation, absence_curve, evaluate, predict
from .fusion import fusion_shares
from .heads import compile_args
from .layers import Tokens
from .model import ModelSpec, build, grouped
from .pipeline import Shards, batches, read_shards, write_shards
from .records import Records, Splits, read
from .schema import Audio, Category, Image, Labels, Number, Schema, Series, Tabular, Text, Video
from .transfer import freeze, transplant
from .tuning import TuningResult, hypermodel, tune
from .verification import Verification, verify
from .word_vectors import WordVectors, read_word_vectors

__all__ = [
    "Audio",
    "Category",
    "Evaluation",
    "Image",
    "InputError",
    "Labels",
    "ModelSpec",
    "Number",
    "Records",
    "Schema",
    "Series",
    "Shards",
    "Splits",
    "Tabular",
    "Text",
    "Tokens",
    "TuningResult",
    "Verification",
    "Video",
    "WordVectors",
    "absence_curve",
    "batches",
    "build",
    "compile_args",
    "datasets",
    "decode",
    "evaluate",
    "export",
    "freeze",
    "fusion",
    "fusion_shares",
    "grouped",
    "heads",
    "hypermodel",
    "layers",
    "predict",
    "read",
    "read_shards",
    "read_word_vectors",
    "serving",
    "towers",
    "transplant",
    "tune",
    "verify",
    "write_shards",
]
