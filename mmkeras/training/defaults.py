"""Sizes, dropout and epochs that suit the number of rows; and the mild augmentation of every kind of input."""

from collections.abc import Mapping
from typing import Any

from mmkeras.augment import AUGMENTATIONS
from mmkeras.model_spec import ModelSpec
from mmkeras.registry import own_options
from mmkeras.schema import Schema
from mmkeras.tasks import choose_task, options_of
from mmkeras.towers import DEFAULTS, TOWERS

SMALL, LARGE = 3_000, 20_000  # rows
STEPS = 2_500  # of the optimizer, as far as the limits of EPOCHS allow
EPOCHS = (12, 60)
SMOOTHING = 0.05


def recommended_spec(schema: Schema, rows: int) -> ModelSpec:
    """The default towers and fusion in a size that suits so many training rows.

    Args:
        schema: fitted `Schema`.
        rows: number of training rows.
    """
    small, large = rows < SMALL, rows >= LARGE
    wanted: dict[str, Any] = {"dropout": 0.1 if large else 0.3 if not small else 0.4} | (
        {"filters": 16} if small else {}
    )
    towers = {name: _with(DEFAULTS.of(feature), wanted) for name, feature in schema.inputs.items()}
    fusion = {"kind": "concat", "dropout": 0.1 if large else 0.2}
    tasks = {}
    for name, target in schema.targets.items():
        chosen = choose_task(target, None, name)
        if "label_smoothing" in options_of(chosen.part)[1]:
            tasks[name] = {"kind": chosen.name, "label_smoothing": SMOOTHING}
    return ModelSpec(towers=towers, fusion=fusion, width=64 if small else 128, tasks=tasks)


def _with(tower: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    known = own_options(TOWERS[tower], ("mask", "feature", "width", "name"))
    return {"kind": tower, **{option: value for option, value in wanted.items() if option in known}}


def recommended_training(schema: Schema, rows: int, batch_size: int | None = None) -> dict[str, Any]:
    """Options of `Training` that suit so many training rows.

    Args:
        schema: fitted `Schema`.
        rows: number of training rows.
        batch_size: if it is given already.
    """
    batch = batch_size or (32 if rows < SMALL else 64 if rows < LARGE else 128)
    steps = max(1, rows // batch)
    epochs = min(max(round(STEPS / steps), EPOCHS[0]), EPOCHS[1])
    return {
        "epochs": epochs,
        "batch_size": batch,
        "learning_rate": 1e-3,
        "warm_up": max(1, epochs // 10),
        "weight_decay": 0.05 if rows < LARGE else 0.01,
        "clip_norm": 1.0,
        "augment": recommended_augmentation(schema),
    }


def recommended_augmentation(schema: Schema) -> dict[str, dict[str, Any]]:
    """The mild changes of every input whose kind has an augmentation."""
    found = {}
    for name, feature in schema.inputs.items():
        augmentation = AUGMENTATIONS.known(feature)
        if augmentation is not None and (options := augmentation.mild(feature)):
            found[name] = options
    return found
