"""Does what mmkeras builds cost more than the same model written by hand?

    python benchmarks/step.py [--pairs 30] [--steps 50] [--fusion concat|attention] [--batch 128]

Two models: the demo's spec (mmkeras/demo.py) through `mk.build`, made of sub-models, and the same layers in one flat
functional model in plain Keras, as one would write it knowing the three inputs. First it is proved that they are the
same work: the same weights by name and shape, the same dropout rates and, with equal weights, outputs equal within
1e-6; the script stops where they are not. Then each trains in blocks of `model.fit` on one tf.data set of the same
batches in memory. A block of the one and a block of the other make a pair; which comes first alternates from pair to
pair, so that whatever else the machine does falls on both.

Prints a Markdown table: a training step's CPU-milliseconds (of all threads) and wall milliseconds, median of the
blocks, for both models, and the median over the pairs of the ratio built / by hand with its bootstrap 95 % interval.
"""

import argparse
import os
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

import mmkeras as mk
from mmkeras.demo import FUSIONS, SCHEMA, TOWERS

WIDTH = 128
DIFFERENT_BATCHES = 8  # kept in memory and repeated


def built(schema, fusion):
    return mk.build(schema, towers=TOWERS, fusion=FUSIONS[fusion], width=WIDTH)


def by_hand(words, classes, fusion):
    """The demo's model in plain Keras; the layers bear the names of mmkeras' for `same_work` alone."""
    image = keras.Input((8, 8, 1), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255)(image)
    for block in range(2):
        x = layers.Conv2D(64 * 2**block, 3, padding="same", activation="relu", name=f"image_conv{block}")(x)
        x = layers.MaxPooling2D(2, padding="same")(x)
    x = layers.Dropout(0.4)(layers.Flatten()(x))
    seen = layers.Dense(WIDTH, activation="relu", name="image_dense")(x)

    question = keras.Input((16,), dtype="int32", name="question")
    x = layers.Embedding(words, 64, mask_zero=True, name="question_embedding")(question)
    asked = layers.LSTM(WIDTH, name="question_lstm")(x)

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


def concat(vectors):
    x = layers.Concatenate()(list(vectors.values()))
    x = layers.Dense(WIDTH, activation="relu", name="concat_dense0")(layers.Dropout(0.1)(x))
    return layers.Dense(WIDTH, activation="relu", name="concat_dense1")(layers.Dropout(0.1)(x))


def attention(vectors, heads=4):
    values = ops.stack([layers.Dense(WIDTH, name=f"{name}_project")(x) for name, x in vectors.items()], axis=1)
    tokens = len(vectors)
    for name in ("attention0", "attention1"):
        x = layers.LayerNormalization(name=f"{name}_norm")(values)
        query, key, value = (
            layers.Reshape((tokens, heads, WIDTH // heads))(layers.Dense(WIDTH, name=f"{name}_{part}")(x))
            for part in ("query", "key", "value")
        )
        x = layers.Reshape((tokens, WIDTH))(ops.dot_product_attention(query, key, value))
        x = layers.Dropout(0.1)(layers.Dense(WIDTH, name=f"{name}_output")(x))
        values = layers.Add()([values, x])
        x = layers.LayerNormalization(name=f"{name}_dense_norm")(values)
        x = layers.Dense(2 * WIDTH, activation="gelu", name=f"{name}_dense1")(x)
        x = layers.Dropout(0.1)(layers.Dense(WIDTH, name=f"{name}_dense2")(x))
        values = layers.Add()([values, x])
    return ops.mean(layers.LayerNormalization(name="attention_norm")(values), axis=1)


def same_work(ours, plain, inputs):
    """Give both models the same weights and prove that they are one model, or stop."""
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
    print(f"The same work: {ours.count_params():,} parameters each, outputs differ by {difference:.1g} at most.\n")


def parts(model):
    """The layers of a model and of its sub-models."""
    for layer in model.layers:
        yield from parts(layer) if isinstance(layer, keras.Model) else (layer,)


def measure(models, dataset, pairs):
    """CPU-seconds and wall seconds of every block: `(2 models, pairs, 2)`."""
    seconds = np.empty((len(models), pairs, 2))
    for model in models:  # traces and allocates; not counted
        model.fit(dataset, shuffle=False, verbose=0)
    for pair in range(pairs):
        order = range(len(models)) if pair % 2 == 0 else reversed(range(len(models)))
        for number in order:
            cpu, wall = time.process_time(), time.perf_counter()
            models[number].fit(dataset, shuffle=False, verbose=0)
            seconds[number, pair] = time.process_time() - cpu, time.perf_counter() - wall
    return seconds


def interval(ratios, draws=10_000):
    """The bootstrap 95 % interval of the median."""
    rows = np.random.default_rng(0).integers(len(ratios), size=(draws, len(ratios)))
    return np.quantile(np.median(ratios[rows], axis=1), [0.025, 0.975])


def training_batches(records, batch, steps):
    """`steps` batches, a few different ones again and again, all in memory; and all rows' inputs at once."""
    inputs, answers = next(iter(mk.batches(records, len(records))))
    rows = np.resize(np.random.default_rng(0).permutation(len(records)), (DIFFERENT_BATCHES, batch))
    inputs = {name: value.numpy() for name, value in inputs.items()}
    stacked = ({name: value[rows] for name, value in inputs.items()}, answers.numpy()[rows])
    dataset = tf.data.Dataset.from_tensor_slices(stacked).repeat().take(steps).prefetch(tf.data.AUTOTUNE)
    return dataset, inputs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--steps", type=int, default=50, help="training steps in a block")
    parser.add_argument("--fusion", choices=["concat", "attention"], default="concat")
    parser.add_argument("--batch", type=int, default=128)
    arguments = parser.parse_args()

    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        data = mk.read(mk.datasets.keypad(folder, rows=1000), SCHEMA).split("split")
        dataset, inputs = training_batches(data["train"], arguments.batch, arguments.steps)
    schema = data.schema
    ours = built(schema, arguments.fusion)
    plain = by_hand(schema.inputs["question"].tokens, len(schema.targets["answer"].classes), arguments.fusion)
    same_work(ours, plain, inputs)
    ours.compile(keras.optimizers.AdamW(1e-3, weight_decay=0.01), **mk.compile_args(schema))
    plain.compile(
        keras.optimizers.AdamW(1e-3, weight_decay=0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(),
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
    )
    seconds = measure([ours, plain], dataset, arguments.pairs)

    title = f"{arguments.fusion} fusion, batch {arguments.batch}"
    print(f"{title}: {arguments.pairs} pairs of blocks of {arguments.steps} training steps\n")
    print("| a training step | built by mmkeras, ms | by hand, ms | ratio | 95 % interval |")
    print("|---|---|---|---|---|")
    for number, name in enumerate(("CPU", "wall")):
        each = np.median(seconds[..., number], axis=1) / arguments.steps * 1000
        ratios = seconds[0, :, number] / seconds[1, :, number]
        low, high = interval(ratios)
        print(f"| {name} | {each[0]:.2f} | {each[1]:.2f} | {np.median(ratios):.3f} | {low:.3f} to {high:.3f} |")


if __name__ == "__main__":
    main()
