"""Keras knows mmkeras' classes as soon as both are imported, in either order: so `keras.models.load_model` works.

Keras finds classes of other packages only in its registry, and `import mmkeras` must not import Keras. So the modules
that register classes are imported together with Keras: at once if it is imported already, else right after its import,
by a finder at the head of `sys.meta_path` that does nothing else.
"""

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULES = ("mmkeras.layers", "mmkeras.tasks.losses", "mmkeras.fine_tuning")  # all that register classes


class AfterKeras:
    """Finder that finds Keras as the others do, and has `register` called after it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec that the later finders give; None for every module but Keras."""
        if name != "keras":
            return None
        later = sys.meta_path[sys.meta_path.index(self) + 1 :]
        spec = next((spec for finder in later if (spec := finder.find_spec(name, path, target))), None)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            run = loader.exec_module

            def run_and_register(module: ModuleType) -> None:
                run(module)
                if module.__name__ == name:
                    register()

            loader.exec_module = run_and_register  # of this loader only; the rest of it is unchanged
        return spec


def register() -> None:
    """Import the modules that register classes with Keras.

    If the import fails, for instance with an old Keras, it warns: `import keras` must work where mmkeras is only a
    client of a server.
    """
    try:
        for module in MODULES:
            importlib.import_module(module)
    except Exception as error:
        warnings.warn(f"mmkeras: Keras cannot load models of mmkeras: {error!r}", stacklevel=2)


def register_with_keras() -> None:
    """Call `register` now if Keras is imported, else after its import."""
    if "keras" in sys.modules:
        register()
    elif not any(isinstance(finder, AfterKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, AfterKeras())
