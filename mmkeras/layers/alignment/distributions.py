"""Losses that bring the distributions of the modalities together, not the vectors of one row."""

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any

import keras
from keras import ops

from mmkeras.checks import check_choice, check_number, check_whole
from mmkeras.layers.alignment.base import Alignment, length_of, mean_there, rows_there
from mmkeras.layers.tokens import Tensor


@keras.saving.register_keras_serializable(package="mmkeras")
class Adversarial(Alignment):
    """A discriminator guesses the modality of a vector, and the towers learn to deceive it.

    The discriminator is `softmax(W2 relu(W1 z + b1) + b2)` over the modalities, its loss the crossentropy. It brings
    the distributions of the modalities together, not the vectors of one row: use it with `"through": True` and a task.
    It hides where a vector comes from. To find a row's partner, use a loss of pairs: between written and spoken digits
    this one found them no better than chance (benchmarks/RESULTS.md).

    - "reversal": one loss for both; between discriminator and towers its gradient is reversed and multiplied by
      `strength` (Ganin and Lempitsky, Unsupervised domain adaptation by backpropagation, 2015).
    - "generator": the discriminator learns from vectors whose gradient is stopped; the discriminator is frozen for the
      towers, which learn to make their vectors look like those of the other modalities, each equally likely (the
      non-saturating form of Goodfellow et al., Generative adversarial nets, 2014; between modalities: Wang et al.,
      Adversarial cross-modal retrieval, 2017).

    Args:
        form: "reversal" or "generator".
        hidden: units of the discriminator.
        strength: of the gradient that reaches the towers, above 0.
        weight: of the loss.
    """

    def __init__(self, *, form: str = "reversal", hidden: int = 64, strength: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.form = check_choice(form, "form", ("reversal", "generator"), "Adversarial: ")
        self.hidden = check_whole(hidden, "hidden", "Adversarial: ")
        self.strength = check_number(strength, "strength", "Adversarial: ", least=0, above=True)

    def build(self, vectors_shape: Any, present_shape: Any) -> None:
        """Make the discriminator: its kernels by Glorot, its biases zeros."""
        sizes = vectors_shape[0][-1], self.hidden, len(vectors_shape)
        self.discriminator = []
        for number, shape in enumerate(pairwise(sizes)):
            self.discriminator += [
                self.add_weight(shape=shape, dtype="float32", name=f"kernel{number}"),
                self.add_weight(shape=shape[1:], initializer="zeros", dtype="float32", name=f"bias{number}"),
            ]

    def loss(self, vectors: list[Tensor], there: list[Tensor]) -> Tensor:
        """The loss of the guesses, over all vectors that are there."""
        classes, weights = len(vectors), list(self.discriminator)
        right = [ops.one_hot(ops.full_like(rows, number, "int32"), classes) for number, rows in enumerate(there)]
        right, there, x = ops.concatenate(right), ops.concatenate(there), ops.concatenate(vectors)
        if self.form == "reversal":
            return _guess(reverse_gradient(x, self.strength), right, there, weights)
        others, frozen = (1 - right) / (classes - 1), [ops.stop_gradient(weight) for weight in weights]
        towers = _guess(x, others, there, frozen)
        return _guess(ops.stop_gradient(x), right, there, weights) + self.strength * towers

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), "form": self.form, "hidden": self.hidden, "strength": self.strength}


def reverse_gradient(x: Tensor, strength: float = 1.0) -> Tensor:
    """x unchanged; its gradient is `-strength` times the incoming one (Ganin and Lempitsky, 2015)."""
    return ops.stop_gradient((1 + strength) * x) - strength * x


@keras.saving.register_keras_serializable(package="mmkeras")
class SharedPrivate(Alignment):
    """Shared and private vectors of each modality (MISA: Hazarika et al., 2020).

    Called as `layer([*shared, *private, *hidden, *rebuilt], present)`: the shared vector s and the private one p of
    each modality, from 0 to 1, the vector h that both are made of, and a decoder's output for `s + p`; gives the
    shared ones. The loss is the sum of three parts:

    - `similarity` times the central moment discrepancy of the shared vectors (Zellinger et al., 2017), the mean over
      pairs: `|E(a) - E(b)| + sum_k |c_k(a) - c_k(b)|`, c_k the k-th central moments over the rows, k from 2 to 5;
    - `difference` times the sum of `mean((X' Y)^2)` over the shared and private vectors of each modality and the
      private ones of each pair, where X and Y are centred over the rows and then scaled to rows of unit length;
    - `reconstruction` times the mean squared error of the reconstruction, the mean over the modalities.

    As `Adversarial`, it brings distributions together and not the vectors of a row: the vectors are for a task, not for
    retrieval.

    Args:
        similarity, difference, reconstruction: weights of the parts, above 0, by default as in the paper's code.
        weight: of the whole.
    """

    private = True

    def __init__(self, *, similarity: float = 1.0, difference: float = 0.3, reconstruction: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        given = {"similarity": similarity, "difference": difference, "reconstruction": reconstruction}
        self.parts = {name: check_number(x, name, "SharedPrivate: ", least=0, above=True) for name, x in given.items()}

    def call(self, vectors: list[Tensor], present: list[Tensor]) -> list[Tensor]:
        """Gives the shared vectors."""
        return super().call(vectors, present)[: len(present)]

    def loss(self, vectors: list[Tensor], there: list[Tensor]) -> Tensor:
        """The weighted sum of the three."""
        count = len(there)
        shared, private, hidden, rebuilt = (vectors[i : i + count] for i in range(0, 4 * count, count))
        rows = list(zip(shared, private, hidden, rebuilt, there, strict=True))
        pairs = list(combinations(range(count), 2))
        similar = [_moments(shared[i], shared[j], there[i], there[j]) for i, j in pairs]
        different = [_overlap(s, p, here, here) for s, p, _, _, here in rows]
        different += [_overlap(private[i], private[j], there[i], there[j]) for i, j in pairs]
        again = [mean_there(ops.mean(ops.square(h - r), axis=-1), here) for _, _, h, r, here in rows]
        parts = sum(similar) / len(pairs), sum(different), sum(again) / count
        return sum(weight * part for weight, part in zip(self.parts.values(), parts, strict=True))

    def compute_output_shape(self, vectors_shape: Any, present_shape: Any) -> Any:
        """The shapes of the shared vectors."""
        return vectors_shape[: len(present_shape)]

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), **self.parts}


def _guess(x: Tensor, right: Tensor, there: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Crossentropy of the outputs of a discriminator with these weights for x."""
    kernel0, bias0, kernel1, bias1 = weights
    logits = ops.matmul(ops.relu(ops.matmul(x, kernel0) + bias0), kernel1) + bias1
    return mean_there(-ops.sum(right * ops.log_softmax(logits), axis=-1), there)


def _centred(x: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the rows that are there, `(width,)`, and the centred rows, zeros where there is none."""
    mean = ops.sum(x * there[:, None], axis=0) / rows_there(there)
    return mean, (x - mean) * there[:, None]


def _moments(a: Tensor, b: Tensor, in_a: Tensor, in_b: Tensor) -> Tensor:
    """Central moment discrepancy of two sets of rows, from 0 to 1."""
    mean_a, a = _centred(a, in_a)
    mean_b, b = _centred(b, in_b)
    total = length_of(mean_a - mean_b)
    for power in range(2, 6):
        total += length_of(ops.sum(a**power, axis=0) / rows_there(in_a) - ops.sum(b**power, axis=0) / rows_there(in_b))
    return ops.squeeze(total, -1)


def _overlap(a: Tensor, b: Tensor, in_a: Tensor, in_b: Tensor) -> Tensor:
    """The mean of `(X' Y)^2`; X and Y are the rows that both have, centred and at unit length."""
    both = in_a * in_b
    a, b = _centred(a, both)[1], _centred(b, both)[1]
    return ops.mean(ops.square(ops.matmul(ops.transpose(a / length_of(a)), b / length_of(b))))
