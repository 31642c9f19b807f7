"""The inputs of a model: a picture, a recording, a sentence, a sensor trace, a row of numbers or a video.

One kind a file; `INPUTS` is the catalogue, and your own kind joins it by `register`.
"""

from mmkeras.inputs.audio import Audio
from mmkeras.inputs.base import WIRES, Input
from mmkeras.inputs.image import Image
from mmkeras.inputs.series import Series
from mmkeras.inputs.tabular import Tabular
from mmkeras.inputs.text import Text
from mmkeras.inputs.video import Video
from mmkeras.registry import Catalogue

__all__ = ["INPUTS", "Audio", "Image", "Input", "Series", "Tabular", "Text", "Video", "register"]


def __dir__() -> list[str]:
    """The public names."""
    return __all__


INPUTS = Catalogue(
    "kind of input",
    {kind.__name__: kind for kind in (Image, Audio, Text, Series, Tabular, Video)},
    __name__,
    lambda kind: isinstance(kind, type) and issubclass(kind, Input) and kind.wire in WIRES,
    f"a class that derives from Input, whose wire is one of {', '.join(WIRES)}",
)

register = INPUTS.register
