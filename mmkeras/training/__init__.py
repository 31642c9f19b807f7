"""Training: `mk.train`, and the recipe that the demo and the trials of a search share.

trainer    `mk.train`: chooses what is not given, trains, resumes
run        `Run`, its result
recipe     `Training`: optimizer, schedule, batches
defaults   sizes, epochs and augmentation that suit the data
keeper     best weights, early stopping, checkpoint
average    the moving average of the weights
"""

from mmkeras.training.recipe import Training, compile_for, fit, prepare
from mmkeras.training.run import Run
from mmkeras.training.trainer import train

__all__ = ["Run", "Training", "compile_for", "fit", "prepare", "train"]
