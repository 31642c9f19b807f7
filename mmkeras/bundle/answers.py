"""A model's outputs as a client receives them: decoded by the targets' tasks, words in place of their numbers."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mmkeras.errors import InputError
from mmkeras.schema import Schema
from mmkeras.tasks import Task, Words


def prefix(schema: Schema, name: str) -> str:
    """The prefix of the names of a target's outputs."""
    return f"{name}_" if len(schema.targets) > 1 else ""


def answers(schema: Schema, tasks: Mapping[str, Task], outputs: Any) -> dict[str, tf.Tensor]:
    """The decoded outputs of every target: dict of output name -> tensor, in a graph of TensorFlow.

    Args:
        schema: fitted `Schema`.
        tasks: the model's, of `mmkeras.tasks.tasks_of`.
        outputs: of the model, a tensor or a dict by target.
    """
    outputs, found = schema.by_target(outputs), {}
    for name, task in tasks.items():
        words = task.words(schema.targets[name])
        for part, value in task.answer(outputs[name], schema.targets[name]).items():
            key = prefix(schema, name) + part
            if key in found or key == "embedding" or key.endswith("status"):
                raise InputError(
                    f"export: expected outputs of different names, beside 'status' and 'embedding', received {key!r} "
                    f"of {name!r} twice: give the target another name, with column=..., or the part of its task"
                )
            found[key] = _spoken(value, words[part]) if part in words else value
    return found


def labels_of(schema: Schema, tasks: Mapping[str, Task]) -> dict[str, list[str]]:
    """The words of every target whose output has some, in the order of their numbers."""
    words = {name: task.words(schema.targets[name]) for name, task in tasks.items()}
    return {name: list(next(iter(parts.values())).words) for name, parts in words.items() if parts}


def _spoken(values: tf.Tensor, words: Words) -> tf.Tensor:
    """Whole numbers as the words in these places; `(n, words)` bool as the words that are True, joined: `(n,)`."""
    if values.dtype != tf.bool:
        return tf.gather(tf.constant(words.words), values)
    ended = tf.constant([word + words.separator for word in words.words])
    joined = tf.strings.reduce_join(tf.where(values, ended, ""), axis=-1)
    kept = tf.strings.length(joined) - len(words.separator.encode())
    meant = tf.strings.substr(joined, tf.zeros_like(kept), tf.maximum(kept, 0))
    return tf.where(tf.reduce_any(values, axis=-1), meant, words.separator)
