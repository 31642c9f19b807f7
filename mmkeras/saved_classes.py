"""Keras finds mmkeras' classes as soon as both are imported, in either order: so `keras.models.load_model` works.

Keras looks for a class of another package in its registry alone, and `import mmkeras` must not import Keras. So Keras'
look-up is extended, once Keras is imported: a name of mmkeras that is not registered yet first imports the modules that
register our classes. Nothing is imported before a model is loaded, and nothing within another import.
"""

import functools
import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULES = ("mmkeras.layers", "mmkeras.tasks.losses", "mmkeras.fine_tuning")  # all that register classes
REGISTRY = "keras.src.saving.object_registration"  # where Keras looks up the classes of a saved model


class AfterKeras:
    """Finder that finds Keras as the others do, and extends its look-up after its import."""

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

            def run_and_extend(module: ModuleType) -> None:
                run(module)
                if module.__name__ == name:
                    extend_lookup()

            loader.exec_module = run_and_extend  # of this loader only; the rest of it is unchanged
        return spec


def extend_lookup() -> None:
    """Have Keras import our classes when it looks for one. A Keras without this look-up stays as it is."""
    registry: Any = sys.modules.get(REGISTRY)
    find = getattr(registry, "get_registered_object", None)
    if find is None or hasattr(find, "of_mmkeras"):
        return

    @functools.wraps(find)
    def find_or_import(name: Any, *values: Any, **options: Any) -> Any:
        found = find(name, *values, **options)
        if found is None and isinstance(name, str) and name.startswith("mmkeras>"):
            for module in MODULES:
                importlib.import_module(module)
            found = find(name, *values, **options)
        return found

    find_or_import.of_mmkeras = True  # type: ignore[attr-defined]
    registry.get_registered_object = find_or_import


def teach_keras() -> None:
    """Extend Keras' look-up now if Keras is imported, and after each later import of it."""
    if "keras" in sys.modules:
        extend_lookup()
    if not any(isinstance(finder, AfterKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, AfterKeras())
