"""Search of fusions, towers and their widths with KerasTuner: hyperparameters -> ModelSpec -> the same build."""

from mmkeras.tuning.model import hypermodel
from mmkeras.tuning.result import TuningResult
from mmkeras.tuning.search import tune

__all__ = ["TuningResult", "hypermodel", "tune"]
