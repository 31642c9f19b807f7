"""Sentences: a vector for each word."""

from typing import Any

from keras import KerasTensor

from mmkeras.inputs import Text
from mmkeras.towers.fronts.base import Front
from mmkeras.towers.text import word_vectors


class TextFront(Front):
    """Word vectors. A word means something by itself: kernels of several sizes side by side, no patches."""

    options = ("embedding", "vectors", "train_vectors")
    filters = 64
    kernel = (3, 4, 5)
    stride = 1

    def steps(self, x: KerasTensor, mask: KerasTensor | None, feature: Text, name: str, **options: Any) -> KerasTensor:
        """`(batch, length, embedding)`, see `mmkeras.towers.text.word_vectors`."""
        return word_vectors(x, mask, feature, name, **options)

    def depth(self, steps: int) -> int:
        """One layer, as Kim (2014)."""
        return 1

    def patch(self, steps: int) -> int:
        """Each word is a token."""
        return 1
