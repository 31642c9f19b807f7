"""The targets of a model: one class of several, several classes at once, or a number.

One kind a file; `TARGETS` is the catalogue, and your own kind joins it by `register`. Every kind has the same methods:
`fit` learns from the cells of the training rows, `encode` turns cells into the truths that Keras receives, `truth`
gives their shapes, and `expected` describes a valid cell. An empty cell is a missing target: `fit` skips it,
`optional=True` allows it. The kind's task makes the predictions: see `mmkeras.tasks`.
"""

from mmkeras.registry import Catalogue
from mmkeras.targets.base import Target, inputs_read
from mmkeras.targets.category import Category
from mmkeras.targets.labels import Labels
from mmkeras.targets.number import Number

__all__ = ["TARGETS", "Category", "Labels", "Number", "Target", "inputs_read", "register"]


def __dir__() -> list[str]:
    """The public names."""
    return __all__


TARGETS = Catalogue(
    "kind of target",
    {kind.__name__: kind for kind in (Category, Labels, Number)},
    __name__,
    lambda kind: isinstance(kind, type) and issubclass(kind, Target),
    "a class that derives from Target",
)

register = TARGETS.register
