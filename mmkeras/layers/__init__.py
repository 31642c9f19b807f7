"""Tokens and the layers and blocks that towers, fusions and tasks share."""

from mmkeras.layers.alignment import (
    Adversarial,
    Alignment,
    Contrastive,
    Divergence,
    MeanSquared,
    SharedPrivate,
    SigLIP,
    UnitLength,
    reverse_gradient,
)
from mmkeras.layers.blocks import (
    attend,
    check_heads,
    conv_blocks,
    grid_tokens,
    halvings,
    transformer_block,
)
from mmkeras.layers.columns import NumberTokens
from mmkeras.layers.frozen import Frozen
from mmkeras.layers.loss_weight import LossWeight
from mmkeras.layers.missing import MissingToken
from mmkeras.layers.mixing import LearnedTokens, WeightedMean
from mmkeras.layers.positions import SinePositions
from mmkeras.layers.sequences import encode, placed, recurrent
from mmkeras.layers.spec_augment import SpecAugment
from mmkeras.layers.task_name import TaskName
from mmkeras.layers.tokens import (
    Fused,
    Tensor,
    Tokens,
    check_counts,
    check_switches,
    check_tokens,
    hide_padding,
    input_like,
    joined,
    masked_mean,
    one_token,
)

__all__ = [
    "Adversarial",
    "Alignment",
    "Contrastive",
    "Divergence",
    "Frozen",
    "Fused",
    "LearnedTokens",
    "LossWeight",
    "MeanSquared",
    "MissingToken",
    "NumberTokens",
    "SharedPrivate",
    "SigLIP",
    "SinePositions",
    "SpecAugment",
    "TaskName",
    "Tensor",
    "Tokens",
    "UnitLength",
    "WeightedMean",
    "attend",
    "check_counts",
    "check_heads",
    "check_switches",
    "check_tokens",
    "conv_blocks",
    "encode",
    "grid_tokens",
    "halvings",
    "hide_padding",
    "input_like",
    "joined",
    "masked_mean",
    "one_token",
    "placed",
    "recurrent",
    "reverse_gradient",
    "transformer_block",
]


def __dir__() -> list[str]:
    """The public names."""
    return __all__
