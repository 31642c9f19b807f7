"""Multimodal models in TensorFlow and Keras: a table of pictures, sentences and recordings becomes a served model.

The public names are in __init__.pyi and are loaded on first use, so that `import mmkeras` costs next to nothing.
"""

import lazy_loader

from mmkeras.saved_classes import teach_keras

__version__ = "0.1.0"

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """Load a public name. Raises AttributeError, with the nearest name, for another one."""
    if name in __all__:
        return _load(name)
    from mmkeras.errors import nearest

    close = nearest(name, __all__)
    hint = f"; did you mean {close!r}?" if close else ""
    # obj=None: otherwise Python adds its own guess in a traceback
    raise AttributeError(f"module 'mmkeras' has no attribute {name!r}{hint}", name=name, obj=None)


teach_keras()
