from . import alignment, augment, datasets, decode, fusion, inputs, layers, serving, targets, tasks, tokenizers, towers
from .alignment import encoder
from .bundle import export
from .cached_features import extract_features, features_model
from .distillation import distiller
from .errors import InputError
from .evaluation import Evaluation, evaluate, missing_modality_curve, predict
from .fine_tuning import freeze, learning_rate_multipliers
from .fusion import fusion_shares
from .layers import Tokens
from .model import build, deduplicated_model
from .model_spec import ModelSpec
from .pipeline import Shards, batches, read_shards, write_shards
from .records import Records, Splits, read
from .records.combining import combine
from .retrieval import Retrieval, negative_pairs, retrieve
from .saving import load, save
from .schema import Audio, Category, Image, Labels, Number, Schema, Series, Tabular, Text, Video
from .tasks import compile_args
from .training import Run, train
from .transfer import transfer_weights, weight_history
from .tuning import TuningResult, hypermodel, tune
from .verification import Verification, verify
from .word_vectors import WordVectors, read_word_vectors

__version__: str

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
    "Run",
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
    "alignment",
    "augment",
    "batches",
    "build",
    "combine",
    "compile_args",
    "datasets",
    "decode",
    "deduplicated_model",
    "distiller",
    "encoder",
    "evaluate",
    "export",
    "extract_features",
    "features_model",
    "freeze",
    "fusion",
    "fusion_shares",
    "hypermodel",
    "inputs",
    "layers",
    "learning_rate_multipliers",
    "load",
    "missing_modality_curve",
    "negative_pairs",
    "predict",
    "read",
    "read_shards",
    "read_word_vectors",
    "retrieve",
    "save",
    "serving",
    "targets",
    "tasks",
    "tokenizers",
    "towers",
    "train",
    "transfer_weights",
    "tune",
    "verify",
    "weight_history",
    "write_shards",
]
