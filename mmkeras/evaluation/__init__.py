"""How good a model is, which of its modalities contribute, and its predictions as a table.

scores       a model's last stage over batches, and the first metric of every target
subsets      mk.evaluate, mk.missing_modality_curve
prediction   mk.predict
"""

from mmkeras.evaluation.prediction import predict
from mmkeras.evaluation.scores import check_model
from mmkeras.evaluation.subsets import Evaluation, evaluate, missing_modality_curve

__all__ = ["Evaluation", "check_model", "evaluate", "missing_modality_curve", "predict"]
