"""A schema and a ModelSpec become an ordinary functional keras.Model; and other views over the layers of such a model.

assembly   `build`: which parts, with which options
wiring     towers, alignment and missing tokens: from the model's inputs to the tokens of all modalities
body       the sub-model "body": fusion and tasks, from the tokens to the outputs
views      `deduplicated_model`, `halves`, `with_embedding`
"""

from mmkeras.model.assembly import build
from mmkeras.model.body import FUSED
from mmkeras.model.views import deduplicated_model, halves, with_embedding

__all__ = ["FUSED", "build", "deduplicated_model", "halves", "with_embedding"]
