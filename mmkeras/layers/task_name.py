"""Which task a model has for a target, kept in the model itself."""

from collections.abc import Mapping
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="mmkeras")
class TaskName(keras.layers.Identity):
    """Passes an output `(batch, ...)` as it is, and holds the task that made it.

    It is saved with the model, so that `compile_args`, `evaluate`, `predict` and `export` use the same task. The output
    of a default task without options of its loss has no such layer.

    Args:
        task: name of the task in the catalogue `mk.tasks`.
        part: the task itself, where it was given instead of its name; it is not saved.
        options: dict of the options of its loss, and its "weight".
    """

    def __init__(self, task: str, part: Any = None, options: Mapping[str, Any] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.task, self.part, self.options = task, part, dict(options or {})

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), "task": self.task, "options": self.options}
