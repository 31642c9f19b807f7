"""A kind of input and a kind of target that mmkeras does not have: all that a user has to write to add them.

A point cloud is a `.npy` file of `(points, 3)`, padded; a grade is one of several ordered ones, predicted by the
probabilities of being above each but the last (McCullagh, Regression models for ordinal data, 1980). tests/test_kinds.py
takes both through everything. Nothing else in mmkeras or in the tests knows of them.
"""

from dataclasses import KW_ONLY, dataclass, replace

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import ops

import mmkeras as mk
from mmkeras.augment.base import Augmentation
from mmkeras.decode.base import NumbersCodec
from mmkeras.inputs import Input
from mmkeras.records import description
from mmkeras.retrieval import figures
from mmkeras.targets import Target
from mmkeras.tasks import Task
from mmkeras.tuning import space

# The input ----------------------------------------------------------------------------------------------------------


@mk.inputs.register("PointCloud")
@dataclass(frozen=True)
class PointCloud(Input):
    """Points in space from a .npy file `(any, 3)`; `(batch, points, 3)` float32 and `<name>_length` `(batch,)` int32."""

    points: int
    _: KW_ONLY
    optional: bool = False
    column: str | None = None
    files = True
    padded = True
    wire = "numbers"

    @property
    def shape(self):
        """`(points, 3)`."""
        return (self.points, 3)
