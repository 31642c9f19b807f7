"""The demo's model in plain Keras, and the proof that it is the same work as what `mk.build` makes."""

from collections.abc import Iterator

import keras
import numpy as np
from keras import layers, ops

WIDTH = 128


def by_hand(words: int, classes: int, fusion: str) -> keras.Model:
    """One flat functional model; its layers bear the names of mmkeras' for `same_work` alone.

    Args:
        words: size of the question's vocabulary.
        classes: of the output.
        fusion: "concat" or "attention".
    """
    image = keras.Input((8, 8, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255)(image)
    for block in range(2):
        x = layers.Conv2D(64 * 2**block, 3, padding="same", activation="relu", name=f"image_conv{block}")(x)
        x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.Dropout(0.4)(layers.Flatten()(x))
    seen = layers.Dense(WIDTH, activation="relu", name="image_dense")(x)

    question = keras.Input((16,), dtype="int32", name="question")
    x = layers.Embedding(words, 64, mask_zero=True, name="question_embedding")(question)
    asked = layers.LSTM(WIDTH, name="question_lstm0")(x)

    audio = keras.Input((2400,), name="audio")
    x = layers.MelSpectrogram(256, 128, sampling_rate=8000, num_mel_bins=64, top_db=1000.0)(audio)
    x = layers.Rescaling(1 / 50, offset=0.8)(x)
    x = layers.Reshape((*x.shape[1:], 1))(x)
    for block in range(3):
        x = layers.Conv2D(16 * 2**block, 3, 2, padding="same", activation="relu", name=f"audio_conv{block}")(x)
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    heard = layers.Dense(WIDTH, activation="relu", name="audio_dense")(x)

    join = {"concat": concat, "attention": attention}[fusion]
    x = join({"image": seen, "question": asked, "audio": heard})
    return keras.Model([image, question, audio], layers.Dense(classes, activation="softmax", name="answer")(x))


def concat(vectors: dict) -> keras.KerasTensor:
    x = layers.Concatenate()(list(vectors.values()))
    x = layers.Dense(WIDTH, activation="relu", name="concat_dense0")(layers.Dropout(0.1)(x))
    return layers.Dense(WIDTH, activation="relu", name="concat_dense1")(layers.Dropout(0.1)(x))


def attention(vectors: dict, heads: int = 4) -> keras.KerasTensor:
    projected = [layers.Dense(WIDTH, name=f"attention_{name}_project")(x) for name, x in vectors.items()]
    values, tokens = ops.stack(projected, axis=1), len(vectors)
    for name in ("attention0", "attention1"):
        x = layers.LayerNormalization(name=f"{name}_norm")(values)
        query, key, value = (
            layers.Dense(WIDTH, use_bias=part != "key", name=f"{name}_{part}")(x)  # softmax takes a key's bias away
            for part in ("query", "key", "value")
        )
        split = (layers.Reshape((tokens, heads, WIDTH // heads))(part) for part in (query, key, value))
        x = layers.Reshape((tokens, WIDTH))(ops.dot_product_attention(*split))
        x = layers.Dropout(0.1)(layers.Dense(WIDTH, name=f"{name}_output")(x))
        values = layers.Add()([values, x])
        x = layers.LayerNormalization(name=f"{name}_dense_norm")(values)
        x = layers.Dense(2 * WIDTH, activation="gelu", name=f"{name}_dense1")(x)
        x = layers.Dropout(0.1)(layers.Dense(WIDTH, name=f"{name}_dense2")(x))
        values = layers.Add()([values, x])
    return ops.mean(layers.LayerNormalization(name="attention_norm")(values), axis=1)


def same_work(ours: keras.Model, plain: keras.Model, inputs: dict) -> float:
    """Give both models the same weights and prove that they are one model, or stop.

    Args:
        ours: what `mk.build` made.
        plain: the model by hand; it is given the weights of `ours`.
        inputs: dict of name -> values of some rows.

    Returns:
        The largest difference of their outputs.
    """
    weights = {weight.path: weight.numpy() for weight in ours.weights}
    shapes = [{w.path: tuple(w.shape) for w in model.weights} for model in (ours, plain)]
    if shapes[0] != shapes[1]:
        raise SystemExit(f"not the same weights: {sorted(set(shapes[0].items()) ^ set(shapes[1].items()))}")
    if ours.count_params() != plain.count_params():
        raise SystemExit(f"not the same number of parameters: {ours.count_params()} and {plain.count_params()}")
    rates = [sorted(x.rate for x in parts(model) if isinstance(x, layers.Dropout)) for model in (ours, plain)]
    if rates[0] != rates[1]:
        raise SystemExit(f"not the same dropout: {rates[0]} and {rates[1]}")
    plain.set_weights([weights[weight.path] for weight in plain.weights])
    expected, received = (model.predict(inputs, batch_size=256, verbose=0) for model in (ours, plain))
    difference = float(np.abs(expected - received).max())
    if not difference <= 1e-6 or expected.std() == 0:
        raise SystemExit(f"not the same outputs: they differ by up to {difference:.2g}")
    return difference


def parts(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers of a model and of its sub-models."""
    for layer in model.layers:
        yield from parts(layer) if isinstance(layer, keras.Model) else (layer,)
