from . import alignment, datasets, decode, fusion, heads, layers, serving, towers
from .alignment import encoder
from .bundle import export
from .cached_features import behind, tower_features
from .distillation import distiller
from .errors import InputError
from .evaluation import Evaluation, absence_curve, evaluate, predict
from .fine_tuning import freeze, rate_by_part
from .fusion import fusion_shares
from .heads import compile_args
from .layers import Tokens
from .model import build, grouped
from .model_spec import ModelSpec
from .pipeline import Shards, batches, read_shards, write_shards
from .records import Records, Splits, read
from .records.combining import combine
from .retrieval import Retrieval, mismatched, retrieve
from .schema import Audio, Category, Image, Labels, Number, Schema, Series, Tabular, Text, Video
from .transfer import origins, transplant
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
    "Retrieval",
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
    "alignment",
    "batches",
    "behind",
    "build",
    "combine",
    "compile_args",
    "datasets",
    "decode",
    "distiller",
    "encoder",
    "evaluate",
    "export",
    "freeze",
    "fusion",
    "fusion_shares",
    "grouped",
    "heads",
    "hypermodel",
    "layers",
    "mismatched",
    "origins",
    "predict",
    "rate_by_part",
    "read",
    "read_shards",
    "read_word_vectors",
    "retrieve",
    "serving",
    "tower_features",
    "towers",
    "transplant",
    "tune",
    "verify",
    "write_shards",
]
