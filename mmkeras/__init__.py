"""Multimodal models in TensorFlow and Keras: a table of pictures, sentences and recordings becomes a served model.

The public names stand in __init__.pyi and are loaded on first use, so that `import mmkeras` costs next to nothing.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
