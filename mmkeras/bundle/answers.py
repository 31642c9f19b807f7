"""A model's outputs as what a client is answered: labels, scores, numbers."""

import tensorflow as tf

from mmkeras.model import by_target
from mmkeras.schema import Category, Number

TOP = 5  # most labels that are named with their scores


def prefix(schema, name):
    """What stands before the names of a target's answers."""
    return f"{name}_" if len(schema.targets) > 1 else ""


def answers(schema, outputs):
    """The answers to every target: dict of output name -> tensor, from a model's outputs."""
    predictions = by_target(schema, outputs)
    found = {}
    for name, target in schema.targets.items():
        found |= {prefix(schema, name) + part: value for part, value in _answer(target, predictions[name]).items()}
    return found


def _answer(target, predicted):
    if isinstance(target, Number):
        return {"value": predicted}
    classes = tf.constant(target.classes)
    scores, best = tf.math.top_k(predicted, min(TOP, len(target.classes)))
    top = {"probabilities": predicted, "top_labels": tf.gather(classes, best), "top_scores": scores}
    if isinstance(target, Category):
        return {"label": top["top_labels"][:, 0], "score": scores[:, 0], **top}
    return {"label": _joined(target, predicted > 0.5), **top}


def _joined(target, chosen):
    """The chosen labels of each row as one string: `(n, classes)` bool -> `(n,)` string."""
    ended = tf.constant([label + target.separator for label in target.classes])
    joined = tf.strings.reduce_join(tf.where(chosen, ended, ""), axis=-1)
    kept = tf.strings.length(joined) - len(target.separator.encode())
    labels = tf.strings.substr(joined, tf.zeros_like(kept), tf.maximum(kept, 0))
    return tf.where(tf.reduce_any(chosen, axis=-1), labels, target.separator)
