"""Losses that bring the vectors of several modalities into one space, as layers that pass the vectors on.

Each is called as `layer(vectors, present)`: a list of `(batch, dim)`, one for each modality, and a list of `(batch,)`
bool, whether the row has it. `weight` times the loss's mean over the rows that have the compared modalities is added
to the model's own loss; a row in which one is missing does not count. Between more than two modalities the loss is the
mean over all pairs.
"""

from mmkeras.layers.alignment.base import Alignment, UnitLength
from mmkeras.layers.alignment.distributions import Adversarial, SharedPrivate, reverse_gradient
from mmkeras.layers.alignment.pairs import Contrastive, Divergence, MeanSquared, SigLIP

__all__ = [
    "Adversarial",
    "Alignment",
    "Contrastive",
    "Divergence",
    "MeanSquared",
    "SharedPrivate",
    "SigLIP",
    "UnitLength",
    "reverse_gradient",
]
