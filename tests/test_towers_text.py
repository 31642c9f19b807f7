"""Numbers and effects of the towers that read a sequence, beyond the laws of test_towers."""

import contracts
import keras
import numpy as np
import pytest
from keras import ops

from mmkeras.errors import InputError
from mmkeras.schema import Audio, Series, Text
from mmkeras.towers import tower

QUESTION = Text(6, vocabulary=["a", "b", "c", "d"])
IDS = np.array([[2, 3, 4, 5, 2, 3], [5, 4, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0]], "int32")


@pytest.mark.parametrize(("kind", "tokens"), [("lstm", "all"), ("gru", "one")])
def test_both_directions_are_those_of_the_sentence_alone(kind, tokens):
    """Right-padded rows against the same rows without padding, through Keras' own Bidirectional."""
    model = contracts.small_tower(kind, "question", tokens, feature=QUESTION, layers=2, bidirectional=True, width=9)
    cell = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[kind]
    got = contracts.outputs(model, IDS)[0]
    for row, ids in enumerate(IDS[:2]):
        x = model.get_layer("question_embedding")(ids[ids > 0][None])
        for number in range(2):
            parts = []
            for suffix, units, back in (("", 5, False), ("_back", 4, True)):
                layer = cell(units, return_sequences=True, unroll=True)
                given = x[:, ::-1] if back else x
                layer.build(given.shape)
                layer.set_weights(model.get_layer(f"question_{kind}{number}{suffix}").get_weights())
                states = ops.convert_to_numpy(layer(given))
                parts.append(states[:, ::-1] if back else states)
            x = np.concatenate(parts, axis=-1)
        if tokens == "all":
            np.testing.assert_allclose(got[row, : x.shape[1]], x[0], atol=1e-6)
            assert not got[row, x.shape[1] :].any()
        else:
            np.testing.assert_allclose(got[row, 0], [*x[0, -1, :5], *x[0, 0, 5:]], atol=1e-6)


def test_bidirectional_of_odd_and_least_width():
    for width in (2, 5):
        model = contracts.small_tower("gru", "question", width=width, bidirectional=True)
        assert model.output.shape == (None, 1, width)
    with pytest.raises(InputError, match="'question': expected width to be at least 2 with bidirectional, received 1"):
        contracts.small_tower("gru", "question", width=1, bidirectional=True)
    with pytest.raises(InputError, match="'question': expected bidirectional to be True or False, received 'no'"):
        contracts.small_tower("gru", "question", bidirectional="no")


def test_stacked_both_ways_obeys_the_laws(tmp_path):
    feature = Series(4, 2, means=[0, 0], std=[1, 1])
    model = contracts.small_tower("lstm", "trace", "all", feature=feature, layers=2, bidirectional=True, dropout=0.2)
    x, lengths = contracts.sample(feature)
    contracts.round_trip_is_equal(model, [x, lengths], tmp_path / "tower.keras")
    junk = np.where((np.arange(4) < lengths[:, None])[..., None], x, np.nan)
    np.testing.assert_array_equal(
        contracts.outputs(model, [junk, lengths])[0], contracts.outputs(model, [x, lengths])[0]
    )
    contracts.gradients_reach_every_weight(model, [junk, lengths])
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_conv1d_of_words_by_hand():
    """Kim's maximum over time beside the mean, of kernels of 2 and 3 words."""
    model = contracts.small_tower("conv1d", "question", "all", feature=QUESTION, kernel=[2, 3], filters=3)
    vectors = model.get_layer("question_embedding").get_weights()[0]
    found = []
    for size, left in ((2, 0), (3, 1)):
        kernel, _ = model.get_layer(f"question_conv0_{size}").get_weights()
        x = np.pad(vectors[IDS] * (IDS > 0)[..., None], [[0, 0], [left, 1], [0, 0]])
        seen = np.stack([x[:, place : place + size] for place in range(6)], axis=1)
        found.append(np.maximum(np.einsum("btkc,kcf->btf", seen, kernel), 0) * (IDS > 0)[..., None])
    found = np.concatenate(found, axis=-1)
    dense, _ = model.get_layer("question_dense").get_weights()
    expected = np.maximum(found @ dense, 0)
    np.testing.assert_allclose(contracts.outputs(model, IDS)[0], expected, atol=1e-5)
    one = contracts.small_tower("conv1d", "question", "one", feature=QUESTION, kernel=[2, 3], filters=3)
    one.set_weights([*model.get_weights()[:-2], *one.get_weights()[-2:]])
    pooled = np.concatenate([found.sum(axis=1) / (IDS > 0).sum(axis=1, keepdims=True), found.max(axis=1)], axis=-1)
    expected = np.maximum(pooled @ one.get_weights()[-2], 0)
    np.testing.assert_allclose(contracts.outputs(one, IDS)[0][:, 0], expected, atol=1e-5)


def test_bag_by_hand():
    model = contracts.small_tower("bag", "question", feature=QUESTION, embedding=4)
    vectors, kernel, bias = model.get_weights()
    expected = []
    for ids in IDS:
        words = vectors[ids[ids > 0]]
        expected.append(np.maximum(np.concatenate([words.mean(axis=0), words.max(axis=0)]) @ kernel + bias, 0))
    np.testing.assert_allclose(contracts.outputs(model, IDS)[0][:, 0], expected, atol=1e-6)


def test_bag_leaves_words_out_in_training():
    """Mean and maximum of the words that remain: of one kind of word alone nothing changes but where none remains."""
    model = contracts.small_tower("bag", "question", feature=QUESTION, embedding=4, word_dropout=0.5)
    pooled = keras.Model(model.inputs, model.get_layer("question_dense0").input)
    keras.utils.set_random_seed(0)
    same = ops.convert_to_numpy(pooled(np.full((400, 6), 2, "int32"), training=True))
    vector = model.get_weights()[0][2]
    empty = ~same.any(axis=1)
    np.testing.assert_allclose(same[~empty], np.tile([*vector, *vector], ((~empty).sum(), 1)), atol=1e-6)
    assert 0 < empty.mean() < 0.06  # 1 / 64
    mixed = np.tile(np.array([2, 3, 4, 5, 2, 3], "int32"), (400, 1))
    assert len(np.unique(ops.convert_to_numpy(pooled(mixed, training=True)).round(4), axis=0)) > 20
    assert len(np.unique(ops.convert_to_numpy(pooled(mixed, training=False)), axis=0)) == 1


@pytest.mark.parametrize(("kind", "sees"), [("bag", False), ("lstm", True), ("conv1d", True), ("transformer", True)])
def test_order_of_the_words(kind, sees):
    model = contracts.small_tower(kind, "question", feature=QUESTION)
    there, back = np.array([[2, 3, 4, 5, 0, 0]], "int32"), np.array([[5, 4, 3, 2, 0, 0]], "int32")
    one, other = contracts.outputs(model, there)[0], contracts.outputs(model, back)[0]
    assert np.abs(one - other).max() > 1e-5 if sees else np.allclose(one, other, atol=1e-6)


def test_transformer_cuts_long_inputs_into_patches():
    long = Series(250, 2, means=[0, 0], std=[1, 1])
    model = contracts.small_tower("transformer", "trace", "all", feature=long)
    assert model.get_layer("trace_patches").output.shape == (None, 63, 8)
    lengths = np.array([0, 1, 4, 5, 250], "int32")
    x = np.zeros((5, 250, 2), "float32")
    assert contracts.outputs(model, [x, lengths])[1].sum(axis=1).tolist() == [0, 1, 1, 2, 63]
    patches = keras.Model(model.inputs, model.get_layer("trace_patches").output)
    x = np.arange(500, dtype="float32").reshape(1, 250, 2)
    got = contracts.outputs(patches, [x, np.array([250], "int32")])[0].reshape(-1)
    np.testing.assert_allclose(got, np.pad(x.reshape(-1), (0, 4)), atol=1e-3)
    assert not any("patches" in layer.name for layer in tower(QUESTION, "transformer", width=8, name="question").layers)


def test_attention_of_words_does_not_hear_the_padding():
    """A sentence among longer ones is answered as it is without padding (the laws have it for longer padding)."""
    model = contracts.small_tower("transformer", "question", feature=QUESTION, depth=2)
    short = contracts.small_tower("transformer", "question", feature=Text(2, vocabulary=QUESTION.vocabulary), depth=2)
    short.set_weights(model.get_weights())
    np.testing.assert_allclose(
        contracts.outputs(model, IDS[1:2])[0], contracts.outputs(short, IDS[1:2, :2])[0], atol=1e-5
    )


def test_steps_of_a_recording_are_the_frames_of_its_spectrogram():
    """A click in the middle is heard at the step of its time."""
    feature = Audio(sampling_rate=8000, seconds=0.5)
    model = tower(feature, {"kind": "lstm", "mels": 20, "hop": 0.01, "window": 0.02}, width=4, name="audio")
    frames = keras.Model(model.inputs, model.get_layer("audio_frames").output)
    x = np.zeros((1, feature.samples), "float32")
    x[0, 2400] = 1.0
    got = contracts.outputs(frames, x)[0]
    assert got.shape == (1, 51, 20)
    assert abs(got[0].mean(axis=1).argmax() - 30) <= 1
