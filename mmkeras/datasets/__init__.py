"""Sets to learn and to measure with: written as a manifest that `mk.read` takes, from installed packages alone."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
