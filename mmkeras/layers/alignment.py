"""Losses that bring the vectors of several modalities into one space, as layers that pass the vectors on.

Each is called as `layer(vectors, present)`: a list of `(batch, dim)`, one for each modality, and a list of `(batch,)`
bool, whether the row has it. The loss joins the model's own, as `weight` times its mean over the rows that have what is
compared; a row in which a modality is missing changes nothing there. Between more than two modalities it is the mean
over all pairs.
"""

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any

import keras
import numpy as np
from keras import ops

from mmkeras.checks import check_number, check_whole
from mmkeras.errors import InputError, shown
from mmkeras.layers.tokens import Tensor

saved = keras.saving.register_keras_serializable(package="mmkeras")


class Alignment(keras.layers.Layer):
    """What all of them are: a float32 layer with a loss.

    Args:
        weight: of the loss, a number above 0.
    """

    private = False  # whether it wants a private vector of each modality beside the shared one

    def __init__(self, *, weight: float = 1.0, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.weight = check_number(weight, "weight", f"{type(self).__name__}: ", least=0, above=True)

    def call(self, vectors: Sequence[Tensor], present: Sequence[Tensor]) -> Sequence[Tensor]:
        """Lists of `(batch, dim)` and `(batch,)` bool -> the vectors as they are."""
        self.add_loss(self.weight * self.loss(vectors, [ops.cast(there, "float32") for there in present]))
        return vectors

    def loss(self, vectors: Sequence[Tensor], there: Sequence[Tensor]) -> Tensor:
        """The mean over all pairs of modalities; `there` is `(batch,)` float32, 1 or 0."""
        pairs = list(combinations(range(len(vectors)), 2))
        return sum(self.pair(vectors[i], vectors[j], there[i] * there[j]) for i, j in pairs) / len(pairs)

    def compute_output_shape(self, vectors_shape: Any, present_shape: Any) -> Any:
        """The shapes of the vectors."""
        return vectors_shape

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), "weight": self.weight}


@saved
class Contrastive(Alignment):
    """A row's own pair against all pairs of the batch (InfoNCE: van den Oord et al., 2018; CLIP: Radford et al., 2021).

    `(CE(t A B') + CE(t B A')) / 2`, where row i's right class is i, with unit vectors A and B and a learned t. It grows
    with the size of the batch. Rows of one value are each other's wrong answers: let a batch hold distinct ones, so no
    `group_by`.

    Args:
        temperature: 1 / t at first, from 0.01; t is held at 100 or less, as in the paper.
        weight: of the loss.
    """

    def __init__(self, *, temperature: float = 0.07, **kwargs: Any):
        super().__init__(**kwargs)
        check_number(temperature, "temperature", "Contrastive: ", least=0, above=True)
        if temperature < 0.01:
            raise InputError(f"Contrastive: expected temperature to be from 0.01, received {shown(temperature)}")
        self.temperature = temperature

    def build(self, vectors_shape: Any, present_shape: Any) -> None:
        """Make the logarithm of t, a scalar."""
        first, most = keras.initializers.Constant(np.log(1 / self.temperature)), float(np.log(100.0))
        self.log_scale = self.add_weight(
            shape=(), initializer=first, constraint=lambda s: ops.minimum(s, most), dtype="float32", name="log_scale"
        )

    def pair(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
        """The loss of two modalities."""
        logits = ops.exp(self.log_scale) * ops.matmul(a, ops.transpose(b))
        return (_own_column(logits, there) + _own_column(ops.transpose(logits), there)) / 2

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), "temperature": self.temperature}


@saved
class SigLIP(Alignment):
    """Every pair of the batch by itself: does it belong together (Zhai et al., Sigmoid loss, 2023)?

    `-1 / rows sum_ij log sigmoid(z_ij (t a_i b_j' + c))`, z is 1 where i = j, else -1, with learned t = exp(s) and c.
    As of `Contrastive`, a batch is to hold distinct values.

    Args:
        weight: of the loss.
    """

    def build(self, vectors_shape: Any, present_shape: Any) -> None:
        """Make s, log 10 at first, and c, -10 at first, as in the paper."""
        for name, first in (("log_scale", float(np.log(10.0))), ("bias", -10.0)):
            initializer = keras.initializers.Constant(first)
            setattr(self, name, self.add_weight(shape=(), initializer=initializer, dtype="float32", name=name))

    def pair(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
        """The loss of two modalities."""
        logits = ops.exp(self.log_scale) * ops.matmul(a, ops.transpose(b)) + self.bias
        right = 2 * ops.eye(ops.shape(a)[0], dtype="float32") - 1
        losses = ops.softplus(-right * logits) * there[:, None] * there[None, :]
        return ops.sum(losses) / _count(there)


@saved
class MeanSquared(Alignment):
    """The squared distance of a row's vectors, `|a - b|^2`.

    It is at its least where all rows have the same vector: use it with `"through": True` beside a head, or with one
    tower and its projection frozen.

    Args:
        weight: of the loss.
    """

    def pair(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
        """The loss of two modalities."""
        return _mean(ops.sum(ops.square(a - b), axis=-1), there)


@saved
class Divergence(Alignment):
    """The divergence of a row's vectors as distributions, `(KL(p || q) + KL(q || p)) / 2`.

    `p = softmax(a / temperature)` and q of b alike (Kullback and Leibler, 1951, in the symmetrical form). As
    `MeanSquared` it is at its least where all rows have the same vector.

    Args:
        temperature: above 0; of unit vectors a small one, or p and q are nearly uniform.
        weight: of the loss.
    """

    def __init__(self, *, temperature: float = 0.1, **kwargs: Any):
        super().__init__(**kwargs)
        self.temperature = check_number(temperature, "temperature", "Divergence: ", least=0, above=True)

    def pair(self, a: Tensor, b: Tensor, there: Tensor) -> Tensor:
        """The loss of two modalities."""
        p, q = ops.log_softmax(a / self.temperature), ops.log_softmax(b / self.temperature)
        return _mean(ops.sum((ops.exp(p) - ops.exp(q)) * (p - q), axis=-1) / 2, there)

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), "temperature": self.temperature}


@saved
class Adversarial(Alignment):
    """A discriminator guesses the modality that a vector is of, and the towers learn to leave it in the dark.

    The discriminator is `softmax(W2 relu(W1 z + b1) + b2)` over the modalities, its loss the crossentropy. It brings
    the distributions of the modalities together, not the vectors of one row: use it with `"through": True` beside a
    head. It hides where a vector comes from; to find a row's partner, take a loss of pairs: between written and spoken
    digits this one found them no better than chance (benchmarks/RESULTS.md).

    - "reversal": one loss for both, whose gradient is turned round, times `strength`, between discriminator and towers
      (Ganin and Lempitsky, Unsupervised domain adaptation by backpropagation, 2015).
    - "generator": the discriminator learns from vectors that are held still; the towers learn that it takes their
      vectors for those of the other modalities, each as likely, while the discriminator is held still (the
      non-saturating form of Goodfellow et al., Generative adversarial nets, 2014; between modalities: Wang et al.,
      Adversarial cross-modal retrieval, 2017).

    Args:
        form: "reversal" or "generator".
        hidden: units of the discriminator.
        strength: of what reaches the towers, above 0.
        weight: of the loss.
    """

    def __init__(self, *, form: str = "reversal", hidden: int = 64, strength: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        if form not in ("reversal", "generator"):
            raise InputError(f"Adversarial: expected form to be 'reversal' or 'generator', received {shown(form)}")
        self.form, self.hidden = form, check_whole(hidden, "hidden", "Adversarial: ")
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

    def loss(self, vectors: Sequence[Tensor], there: Sequence[Tensor]) -> Tensor:
        """Of the guesses over all vectors that are there."""
        classes, weights = len(vectors), list(self.discriminator)
        right = [ops.one_hot(ops.full_like(rows, number, "int32"), classes) for number, rows in enumerate(there)]
        right, there, x = ops.concatenate(right), ops.concatenate(there), ops.concatenate(vectors)
        if self.form == "reversal":
            return _guess(reverse_gradient(x, self.strength), right, there, weights)
        others, still = (1 - right) / (classes - 1), [ops.stop_gradient(weight) for weight in weights]
        towers = _guess(x, others, there, still)
        return _guess(ops.stop_gradient(x), right, there, weights) + self.strength * towers

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), "form": self.form, "hidden": self.hidden, "strength": self.strength}


def reverse_gradient(x: Tensor, strength: float = 1.0) -> Tensor:
    """x as it is, whose gradient is `-strength` times what comes back (Ganin and Lempitsky, 2015)."""
    return ops.stop_gradient((1 + strength) * x) - strength * x


@saved
class SharedPrivate(Alignment):
    """What the modalities share and what each has of its own (MISA: Hazarika et al., 2020).

    Called as `layer([*shared, *private, *hidden, *rebuilt], present)`: the shared vector s and the private one p of
    each modality, from 0 to 1, the vector h that both are made of, and what a decoder makes of `s + p`; gives the
    shared ones. The loss is the sum of three parts:

    - `similarity` times the central moment discrepancy of the shared vectors (Zellinger et al., 2017), the mean over
      pairs: `|E(a) - E(b)| + sum_k |c_k(a) - c_k(b)|`, c_k the k-th central moments over the rows, k from 2 to 5;
    - `difference` times the sum of `mean((X' Y)^2)` over the shared and private vectors of each modality and the
      private ones of each pair, where X and Y have their mean over the rows taken off and rows of unit length;
    - `reconstruction` times the mean squared error of what is rebuilt, the mean over the modalities.

    As of `Adversarial`, distributions are brought together and not the vectors of a row: the vectors are for a head,
    not for retrieval.

    Args:
        similarity, difference, reconstruction: weights of the parts, above 0, by default as in the paper's code.
        weight: of the whole.
    """

    private = True

    def __init__(self, *, similarity: float = 1.0, difference: float = 0.3, reconstruction: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.parts = {"similarity": similarity, "difference": difference, "reconstruction": reconstruction}
        for name, value in self.parts.items():
            check_number(value, name, "SharedPrivate: ", least=0, above=True)

    def call(self, vectors: Sequence[Tensor], present: Sequence[Tensor]) -> Sequence[Tensor]:
        """Gives the shared vectors."""
        return super().call(vectors, present)[: len(present)]

    def loss(self, vectors: Sequence[Tensor], there: Sequence[Tensor]) -> Tensor:
        """The weighted sum of the three."""
        count = len(there)
        shared, private, hidden, rebuilt = (vectors[i : i + count] for i in range(0, 4 * count, count))
        rows = list(zip(shared, private, hidden, rebuilt, there, strict=True))
        pairs = list(combinations(range(count), 2))
        similar = [_moments(shared[i], shared[j], there[i], there[j]) for i, j in pairs]
        different = [_overlap(s, p, here, here) for s, p, _, _, here in rows]
        different += [_overlap(private[i], private[j], there[i], there[j]) for i, j in pairs]
        again = [_mean(ops.mean(ops.square(h - r), axis=-1), here) for _, _, h, r, here in rows]
        parts = sum(similar) / len(pairs), sum(different), sum(again) / count
        return sum(weight * part for weight, part in zip(self.parts.values(), parts, strict=True))

    def compute_output_shape(self, vectors_shape: Any, present_shape: Any) -> Any:
        """The shapes of the shared vectors."""
        return vectors_shape[: len(present_shape)]

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        return {**super().get_config(), **self.parts}


@saved
class UnitLength(keras.layers.Layer):
    """Vectors `(batch, width)` at unit length, float32; zeros stay zeros.

    Of zeros, which a tower gives for a missing modality, Keras' UnitNormalization has the gradient NaN on JAX.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, x: Tensor) -> Tensor:
        """`(batch, width)` -> the same."""
        return x / _norm(x)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the vectors."""
        return input_shape


def _count(there):
    """How many rows there are, at least 1."""
    return ops.maximum(ops.sum(there), 1.0)


def _mean(values, there):
    """The mean of `(batch,)` over the rows that are there; 0 where none is."""
    return ops.sum(values * there) / _count(there)


def _own_column(logits, there):
    """Crossentropy of each row with the column of its own number, among the columns that are there."""
    logits = ops.where(there[None, :] > 0, logits, -1e9)
    return _mean(ops.logsumexp(logits, axis=-1) - ops.diagonal(logits), there)


def _guess(x, right, there, weights):
    """Crossentropy of what a discriminator of these weights makes of x."""
    kernel0, bias0, kernel1, bias1 = weights
    logits = ops.matmul(ops.relu(ops.matmul(x, kernel0) + bias0), kernel1) + bias1
    return _mean(-ops.sum(right * ops.log_softmax(logits), axis=-1), there)


def _centred(x, there):
    """The mean of the rows that are there, `(width,)`, and the rows less it, zeros where there is none."""
    mean = ops.sum(x * there[:, None], axis=0) / _count(there)
    return mean, (x - mean) * there[:, None]


def _norm(x):
    """Length of the last axis, whose gradient at zero is zero."""
    return ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)


def _moments(a, b, in_a, in_b):
    """Central moment discrepancy of two sets of rows, from 0 to 1."""
    mean_a, a = _centred(a, in_a)
    mean_b, b = _centred(b, in_b)
    total = _norm(mean_a - mean_b)
    for power in range(2, 6):
        total += _norm(ops.sum(a**power, axis=0) / _count(in_a) - ops.sum(b**power, axis=0) / _count(in_b))
    return ops.squeeze(total, -1)


def _overlap(a, b, in_a, in_b):
    """The mean of `(X' Y)^2`, X and Y the centred rows at unit length that both have."""
    both = in_a * in_b
    a, b = _centred(a, both)[1], _centred(b, both)[1]
    return ops.mean(ops.square(ops.matmul(ops.transpose(a / _norm(a)), b / _norm(b))))
