"""Fusions of one vector a modality, the mean of its tokens: side by side, weighted, gated, each alone."""

from collections.abc import Iterable, Mapping

import keras
from keras import ops

from mmkeras.checks import check_choice, check_whole
from mmkeras.layers import Tensor, Tokens, WeightedMean, masked_mean


def concat(tokens: Mapping[str, Tokens], *, width: int, depth: int = 2, dropout: float = 0.0) -> Tensor:
    """The modalities' mean tokens side by side, then dense layers.

    `h = relu(W [m_1; ...; m_n] + b)`, with m_i the mean of the tokens of modality i that are there. The plainest
    fusion and a strong one: the dense layers can learn interactions if there are enough rows. Begin with it. Two layers
    by default, as one learns interactions far more slowly (sums of a written and a spoken digit). Source: the bimodal
    network of Ngiam et al., Multimodal deep learning, 2011, without its pre-training.

    Args:
        tokens: dict of name -> `Tokens`.
        width: width of the result and of every dense layer.
        depth: number of dense layers, from 1.
        dropout: share of the values dropped in training before each dense layer.

    Returns:
        `(batch, width)`.

    Raises:
        InputError: a depth below 1.
    """
    check_whole(depth, "depth", "fusion 'concat': ")
    return dense_layers(side_by_side(map(masked_mean, tokens.values())), width, depth, dropout, "concat")


def weighted(tokens: Mapping[str, Tokens], *, width: int, depth: int = 1, dropout: float = 0.0) -> Tensor:
    """A weighted mean of the modalities, with one learned share each (alpha, beta, gamma, ...), then dense layers.

    `h = sum_i a_i norm(W_i m_i + b_i)`, `a = softmax(s)`, with m_i the mean of the tokens of modality i that are there
    and norm scales to mean 0 and standard deviation 1 over the features: without it a projection could grow while its
    share shrinks, and the shares would mean nothing. They begin equal and are the same for every row;
    `fusion_shares(model)` shows the learned ones. It has few weights and shows the weight of each modality. The weight
    is not its usefulness, as later layers can ignore features: for that, use `mk.evaluate`. Where the modality to trust
    changes from row to row, `gated` can follow and this cannot. Source: Vielzeuf et al., CentralNet, 2018 (its weighted
    sums, without the softmax), of one layer.

    Args:
        tokens: dict of name -> `Tokens`.
        width: width of the result and of every dense layer.
        depth: number of dense layers, from 0.
        dropout: share of the values dropped in training before each dense layer.

    Returns:
        `(batch, width)`.

    Raises:
        InputError: a depth below 0.
    """
    check_whole(depth, "depth", "fusion 'weighted': ", least=0)
    parts = []
    for name, part in tokens.items():
        x = keras.layers.Dense(width, name=f"weighted_{name}_project")(masked_mean(part))
        parts.append(keras.layers.LayerNormalization(center=False, scale=False, name=f"weighted_{name}_norm")(x))
    x = WeightedMean(list(tokens), name="weighted_mean")(parts)
    return dense_layers(x, width, depth, dropout, "weighted")


def gated(
    tokens: Mapping[str, Tokens], *, width: int, variant: str = "sigmoid", depth: int = 1, dropout: float = 0.0
) -> Tensor:
    """A sum of the modalities, each feature multiplied by a gate that looks at all modalities, then dense layers.

    With m_i the mean of the tokens of modality i that are there and m all of them side by side:

    - variant "sigmoid", the gated multimodal unit: `h = sum_i sigmoid(V_i m + c_i) * tanh(W_i m_i + b_i)`. (For two
      modalities the paper also ties the gates, z and 1 - z; here each modality has its own, as in its general form.)
    - variant "exp": `h = sum_i exp(s_i) * (W_i m_i + b_i)`, with the s_i adding up to 0 in each feature:
      `s_i = t_i - mean(t)`, `t_i = tanh(V_i m + c_i)`. Of two modalities that is `image*exp(s) + text*exp(-s)`: if
      one gains, the other loses. The tanh keeps exp within 0.13 and 7.4.

    Worth it where the modality to trust changes from row to row: noise, a missing modality, a question about one of
    them alone. Source: Arevalo et al., Gated Multimodal Units for Information Fusion, 2017.

    Args:
        tokens: dict of name -> `Tokens`.
        width: width of the result and of every dense layer.
        variant: "sigmoid" or "exp".
        depth: number of dense layers, from 0.
        dropout: share of the values dropped in training before each dense layer.

    Returns:
        `(batch, width)`.

    Raises:
        InputError: an unknown variant, a depth below 0.
    """
    check_choice(variant, "variant", ("sigmoid", "exp"), "fusion 'gated': ")
    check_whole(depth, "depth", "fusion 'gated': ", least=0)
    vectors = {name: masked_mean(part) for name, part in tokens.items()}
    squash = "tanh" if variant == "sigmoid" else None
    values = [
        keras.layers.Dense(width, activation=squash, name=f"gated_{name}_project")(vector)
        for name, vector in vectors.items()
    ]
    values = ops.stack(values, axis=1)
    if variant == "sigmoid":
        x = ops.sum(_gates(vectors, width, "sigmoid") * values, axis=1)
    elif len(vectors) > 1:
        gates = _gates(vectors, width, "tanh")
        x = ops.sum(ops.exp(gates - ops.mean(gates, axis=1, keepdims=True)) * values, axis=1)
    else:
        x = values[:, 0]  # the only s is 0
    return dense_layers(x, width, depth, dropout, "gated")


def _gates(vectors: Mapping[str, Tensor], width: int, activation: str) -> Tensor:
    """A gate for each feature of each modality, computed from all of them: `(batch, modalities, width)`."""
    gates = keras.layers.Dense(len(vectors) * width, activation=activation, name="gated_gates")
    return keras.layers.Reshape((len(vectors), width), name="gated_split")(gates(side_by_side(vectors.values())))


def late(tokens: Mapping[str, Tokens], *, width: int, depth: int = 1, dropout: float = 0.0) -> dict[str, Tensor]:
    """A fusion of decisions: every modality predicts by itself, and the predictions are averaged.

    `h_i = relu(W_i m_i + b_i)` for each modality, with m_i the mean of its tokens that are there. Every task reads each
    h_i by itself, and its outputs are averaged by learned shares, which `fusion_shares(model)` shows. It cannot
    learn interactions (a sum of two pictured digits). But where all modalities carry the same information it is hard to
    beat, and a missing or wrong modality disturbs it least. Source: the fixed and trained combinations
    of Kittler et al., On Combining Classifiers, 1998.

    Args:
        tokens: dict of name -> `Tokens`.
        width: width of the vectors and of every dense layer.
        depth: number of dense layers for each modality, from 1.
        dropout: share of the values dropped in training before each dense layer.

    Returns:
        dict of name -> `(batch, width)`; a task that reads tokens gets one a modality.

    Raises:
        InputError: a depth below 1.
    """
    check_whole(depth, "depth", "fusion 'late': ")
    return {
        name: dense_layers(masked_mean(part), width, depth, dropout, f"late_{name}") for name, part in tokens.items()
    }


def side_by_side(vectors: Iterable[Tensor]) -> Tensor:
    """Vectors `(batch, any width)` as one."""
    vectors = list(vectors)
    return ops.concatenate(vectors, axis=-1) if len(vectors) > 1 else vectors[0]


def dense_layers(x: Tensor, width: int, depth: int, dropout: float, name: str) -> Tensor:
    """`depth` dense layers with relu, dropout before each: `(batch, any width)` -> `(batch, width)`."""
    for number in range(depth):
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"{name}_dropout{number}")(x)
        x = keras.layers.Dense(width, activation="relu", name=f"{name}_dense{number}")(x)
    return x
