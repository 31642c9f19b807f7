"""Fusions of one vector a modality, the mean of its tokens: side by side, weighted, gated, conditioned, each alone."""

import keras
from keras import ops

from mmkeras.errors import InputError, unknown
from mmkeras.fusion.checks import check_two, check_whole
from mmkeras.layers import WeightedMean, masked_mean
from mmkeras.schema import Text


def concat(tokens, *, width, depth=2, dropout=0.0):
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
    check_whole("concat", 1, depth=depth)
    return dense_layers(side_by_side(map(masked_mean, tokens.values())), width, depth, dropout, "concat")


def weighted(tokens, *, width, depth=1, dropout=0.0):
    """A weighted mean of the modalities, with one learned share each (alpha, beta, gamma, ...), then dense layers.

    `h = sum_i a_i norm(W_i m_i + b_i)`, `a = softmax(s)`, with m_i the mean of the tokens of modality i that are there
    and norm to mean 0 and deviation 1 over the features: without it a projection could grow while its share shrinks,
    and the shares would say nothing. They begin equal and are the same for every row; `fusion_shares(model)` shows what
    was learned. Few weights, and worth it to see what each modality weighs; that is not yet its use, as the layers
    behind can ignore features (for that, see `mk.evaluate` without it). Where the modality to trust changes from row to
    row, `gated` can follow and this cannot. Source: Vielzeuf et al., CentralNet, 2018 (its weighted sums, without
    the softmax), of one layer.

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
    check_whole("weighted", 0, depth=depth)
    parts = []
    for name, part in tokens.items():
        x = keras.layers.Dense(width, name=f"weighted_{name}_project")(masked_mean(part))
        parts.append(keras.layers.LayerNormalization(center=False, scale=False, name=f"weighted_{name}_norm")(x))
    x = WeightedMean(list(tokens), name="weighted_mean")(parts)
    return dense_layers(x, width, depth, dropout, "weighted")


def gated(tokens, *, width, variant="sigmoid", depth=1, dropout=0.0):
    """A sum of the modalities, each feature of each behind a gate that looks at all modalities, then dense layers.

    With m_i the mean of the tokens of modality i that are there and m all of them side by side:

    - variant "sigmoid", the gated multimodal unit: `h = sum_i sigmoid(V_i m + c_i) * tanh(W_i m_i + b_i)`. (For two
      modalities the paper also ties the gates, z and 1 - z; here each modality has its own, as in its general form.)
    - variant "exp": `h = sum_i exp(s_i) * (W_i m_i + b_i)`, with the s_i adding up to 0 in each feature:
      `s_i = t_i - mean(t)`, `t_i = tanh(V_i m + c_i)`. Of two modalities that is `image*exp(s) + text*exp(-s)`: what
      one gains the other loses. The tanh keeps exp within 0.13 and 7.4.

    Worth it where the modality to trust changes from row to row: noise, a missing modality, a question about one of
        them alone.
    Source: Arevalo et al., Gated Multimodal Units for Information Fusion, 2017.

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
    if variant not in ("sigmoid", "exp"):
        raise unknown("value of variant", variant, ("sigmoid", "exp"), where="fusion 'gated': ")
    check_whole("gated", 0, depth=depth)
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


def _gates(vectors, width, activation):
    """A gate for each feature of each modality from all of them: `(batch, modalities, width)`."""
    gates = keras.layers.Dense(len(vectors) * width, activation=activation, name="gated_gates")
    return keras.layers.Reshape((len(vectors), width), name="gated_split")(gates(side_by_side(vectors.values())))


def film(tokens, *, width, features, by=None, depth=2, dropout=0.0):
    """One modality scales and shifts the features of the others' tokens, in residual blocks (FiLM).

    With c the mean token of the conditioning modality, every token x of another one goes through `depth` blocks,

        x += relu((1 + gamma) * norm(W x + b) + beta),    gamma, beta = V c + d

    where norm is to mean 0 and deviation 1 over the features, each block and modality has weights of its own, and x
    begins as a projection of the token. Then `h = relu(W [m_1; ...; m_k] + b)` of the means of the others' tokens.
    Worth it where one modality asks and the others are asked: questions about pictures, instructions, settings. Give
    it towers with `tokens="all"`, so that places can be treated differently. Source: Perez et al., FiLM: Visual
    Reasoning with a General Conditioning Layer, 2018 (there with 3x3 convolutions and batch normalisation).

    Args:
        tokens: dict of name -> `Tokens`, of at least two modalities.
        width: width of the result and of the tokens in the blocks.
        features: dict of input name -> the schema's entry.
        by: name of the conditioning modality; None: the first text, or else the first modality.
        depth: number of blocks, from 1.
        dropout: share of the values dropped in training before the last dense layer.

    Returns:
        `(batch, width)`.

    Raises:
        InputError: fewer than two modalities, an unknown `by`, a depth below 1.
    """
    check_two("film", tokens)
    check_whole("film", 1, depth=depth)
    if by is None:
        texts = [name for name in tokens if isinstance(features.get(name), Text)]
        by = [*texts, *tokens][0]
    elif by not in tokens:
        raise unknown("modality in by:", by, tokens, where="fusion 'film': ")
    condition = masked_mean(tokens[by])
    others = []
    for name, part in tokens.items():
        if name != by:
            x = keras.layers.Dense(width, name=f"film_{name}_project")(part.values)
            for block in range(depth):
                x = _film_block(x, condition, f"film_{name}_{block}")
            others.append(masked_mean(part._replace(values=x)))
    return dense_layers(side_by_side(others), width, 1, dropout, "film")


def _film_block(x, condition, name):
    """Tokens `(batch, tokens, width)`, conditioned on a vector `(batch, any width)`."""
    width = x.shape[-1]
    both = keras.layers.Dense(2 * width, name=f"{name}_condition")(condition)[:, None]
    y = keras.layers.Dense(width, name=f"{name}_dense")(x)
    y = keras.layers.LayerNormalization(center=False, scale=False, name=f"{name}_norm")(y)
    return x + ops.relu((1 + both[..., :width]) * y + both[..., width:])


def late(tokens, *, width, depth=1, dropout=0.0):
    """A fusion of decisions: every modality is decided on by itself, and the decisions are averaged.

    `h_i = relu(W_i m_i + b_i)` for each modality, with m_i the mean of its tokens that are there. Every head answers
    from each h_i, and its answers are averaged by learned shares, which `fusion_shares(model)` shows. It cannot
    learn interactions (a sum of two pictured digits), but where the modalities say the same thing of the same matter
    it is hard to beat and least disturbed by one that is missing or wrong. Source: the fixed and trained combinations
    of Kittler et al., On Combining Classifiers, 1998.

    Args:
        tokens: dict of name -> `Tokens`.
        width: width of the vectors and of every dense layer.
        depth: number of dense layers for each modality, from 1.
        dropout: share of the values dropped in training before each dense layer.

    Returns:
        dict of name -> `(batch, width)`.

    Raises:
        InputError: a depth below 1.
    """
    check_whole("late", 1, depth=depth)
    return {
        name: dense_layers(masked_mean(part), width, depth, dropout, f"late_{name}") for name, part in tokens.items()
    }


def side_by_side(vectors):
    """Vectors `(batch, any width)` as one."""
    vectors = list(vectors)
    return ops.concatenate(vectors, axis=-1) if len(vectors) > 1 else vectors[0]


def dense_layers(x, width, depth, dropout, name):
    """`depth` dense layers with relu, dropout before each: `(batch, any width)` -> `(batch, width)`."""
    for number in range(depth):
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"{name}_dropout{number}")(x)
        x = keras.layers.Dense(width, activation="relu", name=f"{name}_dense{number}")(x)
    return x


def fusion_shares(model):
    """The learned shares of the modalities, of a model with the fusion "weighted" or "late".

    Args:
        model: `keras.Model` from `build`.

    Returns:
        dict of name -> share, 0 to 1, adding up to 1. If the model has several such layers (the answers of several
        targets, averaged each; fusions of targets that read several inputs), a dict of layer name -> such a dict; in
        the fusion of one target the name is `<target>_fusion/<layer>`.

    Raises:
        InputError: a model without learned shares.
    """
    shares = {name: layer.shares() for name, layer in _weighted_means(model)}
    if not shares:
        raise InputError("fusion_shares: expected a model with the fusion 'weighted' or 'late', received one without")
    return shares if len(shares) > 1 else next(iter(shares.values()))


def _weighted_means(model, inside=""):
    for layer in getattr(model, "layers", ()):
        if isinstance(layer, WeightedMean):
            yield inside + layer.name, layer
        else:  # the layers of a target's own fusion have the names of those of the fusion of all
            yield from _weighted_means(layer, f"{layer.name}/" if layer.name.endswith("_fusion") else inside)
