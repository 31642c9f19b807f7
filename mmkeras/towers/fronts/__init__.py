"""Fronts: they turn one kind of input into a sequence of vectors, for the towers that read step by step.

`lstm`, `gru`, `conv1d` and `transformer` read every kind that has a front; your own kind gets one by
`@mk.towers.fronts.register(PointCloud)`. An option of another kind of input is refused:

    embedding, vectors, train_vectors    Text     see `mmkeras.towers.text.word_vectors`
    mels, window, hop                    Audio    see `mmkeras.towers.audio.log_mel`
"""

from typing import Annotated, Any

from keras import KerasTensor

from mmkeras.errors import InputError
from mmkeras.inputs import Audio, Input, Series, Text
from mmkeras.registry import Kinds
from mmkeras.towers.fronts.audio import AudioFront
from mmkeras.towers.fronts.base import Front
from mmkeras.towers.fronts.series import SeriesFront
from mmkeras.towers.fronts.text import TextFront

__all__ = ["FRONTS", "Front", "Sequence", "read", "register"]

FRONTS = Kinds("front of a tower", Front, __name__)
register = FRONTS.register
register(Text)(TextFront)
register(Series)(SeriesFront)
register(Audio)(AudioFront)

Sequence = Annotated[Input, FRONTS]  # annotation of the `feature` of a tower that reads every kind with a front


def read(
    x: KerasTensor, mask: KerasTensor | None, feature: Input, name: str, options: dict[str, Any]
) -> tuple[KerasTensor, Front]:
    """The steps of one input `(batch, steps, channels)`, zeros where there is none, and the front that made them.

    Args:
        x: `(batch, *feature.shape)`, in the units of the schema.
        mask: `(batch, length)`, bool, True where there is a word or a step; None: everywhere.
        feature: the schema's entry.
        name: of the input.
        options: of all fronts, None where not given.

    Raises:
        InputError: a kind of input without a front, an option of another kind.
    """
    front = FRONTS.of(feature)
    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        if option not in front.options:
            known = " or ".join(kind.__name__ for kind, other in FRONTS.items() if option in other.options)
            raise InputError(f"{name!r}: option {option!r} is for {known}, {name!r} is {type(feature).__name__}")
    return front.steps(x, mask, feature, name, **given), front
