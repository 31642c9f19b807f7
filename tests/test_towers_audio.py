"""Numbers and effects of the towers for recordings and tables, beyond the laws of test_towers."""

import contracts
import keras
import numpy as np
import pytest

from mmkeras.errors import InputError
from mmkeras.layers import NumberTokens
from mmkeras.schema import Audio, Tabular
from mmkeras.towers import tower

SOUND = Audio(sampling_rate=4000, seconds=0.5)


def clicks(*places):
    x = np.zeros((len(places), SOUND.samples), "float32")
    x[np.arange(len(places)), places] = 1.0
    return x


def layer_output(model, name):
    return keras.Model(model.inputs, model.get_layer(name).output)


def test_patches_of_the_spectrogram_are_squares_of_it():
    model = contracts.small_tower("spectrogram_transformer", "audio", "all", feature=SOUND, patch=8, mels=20)
    x = np.random.default_rng(0).uniform(-1, 1, (2, SOUND.samples)).astype("float32")
    mel = contracts.outputs(layer_output(model, "audio_decibels"), x)[0]
    assert mel.shape == (2, 20, 32)
    padded = np.pad(mel, [[0, 0], [0, 4], [0, 0]])
    patches = contracts.outputs(layer_output(model, "audio_patches"), x)[0]
    assert patches.shape == (2, 12, 64)
    for place in range(12):
        row, column = divmod(place, 4)
        square = padded[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        np.testing.assert_array_equal(patches[:, place], square.reshape(2, 64))
    assert model.get_layer("audio_positions").grid == (3, 4)


def test_spectrogram_lstm_steps_are_moments():
    """A click is in the step of its time, with all its mels; before and behind there is silence."""
    model = contracts.small_tower("spectrogram_lstm", "audio", "all", feature=SOUND, depth=2)
    assert model.output.shape == (None, 8, 8)
    steps = layer_output(model, "audio_steps")
    assert steps.output.shape == (None, 8, 16 * 64)
    silence = contracts.outputs(steps, np.zeros((1, SOUND.samples), "float32"))[0]
    for place in (300, 1000, 1800):
        heard = np.abs(contracts.outputs(steps, clicks(place))[0] - silence)[0].mean(axis=1)
        away = np.abs(np.arange(8) + 0.5 - place / 256)  # hop of 64 samples, halved twice
        assert heard[away < 1].max() > 1e-3
        assert heard[away > 2].max() < 1e-6


def test_waveform_hears_what_is_where():
    model = contracts.small_tower("waveform", "audio", "all", feature=SOUND)
    count = model.output.shape[1]
    assert [layer.strides[0] for layer in model.layers if isinstance(layer, keras.layers.Conv1D)] == [5, 4, 4, 4]
    assert count == 7
    silence = contracts.outputs(model, clicks(0)[:, ::-1] * 0)[0]
    for place in (300, 1000, 1800):
        heard = np.abs(contracts.outputs(model, clicks(place))[0] - silence)[0].max(axis=1)
        away = np.abs(np.arange(count) + 0.5 - place / SOUND.samples * count)
        assert heard[away < 1].max() > 1e-3
        assert heard[away > 2.5].max() < 1e-6
    one = contracts.small_tower("waveform", "audio", feature=SOUND)
    last = contracts.outputs(layer_output(one, "audio_conv3_relu"), clicks(300))[0]
    kernel, bias = one.get_layer("audio_dense").get_weights()
    pooled = np.concatenate([last.mean(axis=1), last.max(axis=1)], axis=-1)
    np.testing.assert_allclose(
        contracts.outputs(one, clicks(300))[0][:, 0], np.maximum(pooled @ kernel + bias, 0), atol=1e-5
    )


@pytest.mark.parametrize(("rate", "seconds", "depth"), [(4000, 0.05, 1), (8000, 1.0, 3), (16000, 4.0, 4)])
def test_waveform_quarters_until_sixteen_steps(rate, seconds, depth):
    model = tower(Audio(rate, seconds), {"kind": "waveform", "filters": 1, "tokens": "all"}, width=4, name="audio")
    assert sum(isinstance(layer, keras.layers.Conv1D) for layer in model.layers) == depth + 1
    assert model.output.shape[1] <= 16


@pytest.mark.parametrize("kind", ["spectrogram_lstm", "spectrogram_transformer"])
def test_spec_augment_is_in_every_tower_of_spectrograms(kind):
    model = contracts.small_tower(kind, "audio", feature=SOUND, spec_augment={"frequency": 0.5, "time": 0.5})
    assert model.get_layer("audio_spec_augment").frequency == 0.5
    x = np.random.default_rng(0).uniform(-1, 1, (2, SOUND.samples)).astype("float32")
    first, second = (keras.ops.convert_to_numpy(model(x, training=True)) for _ in range(2))
    assert not np.array_equal(first, second)


def test_numbers_and_words_as_tokens_by_hand():
    feature = Tabular(
        ["age", "weight"],
        ["town", "pet"],
        means=[40, 70],
        std=[10, 20],
        vocabularies=[["york", "hull", "leeds"], ["cat"]],
    )
    model = contracts.small_tower("feature_tokens", "table", "all", feature=feature)
    tokens = keras.Model(model.inputs, model.get_layer("table_block0_norm").input)
    x = np.array([[60, 0, 1, 0, 3, 2], [40, 30, 1, 1, 0, 1]], "float32")
    slope, offset, hole = model.get_layer("table_numbers").get_weights()
    words = model.get_layer("table_words").get_weights()[0]
    assert words.shape == (5 + 3, 8)
    expected = [
        [2 * slope[0] + offset[0], hole[1], words[3], words[5 + 2]],
        [offset[0], -2 * slope[1] + offset[1], words[0], words[5 + 1]],
    ]
    np.testing.assert_allclose(contracts.outputs(tokens, x)[0], expected, atol=1e-6)
    assert model.output.shape == (None, 4, 8)
    junk = x.copy()
    junk[0, 1] = np.nan
    np.testing.assert_array_equal(contracts.outputs(model, junk)[0], contracts.outputs(model, x)[0])


def test_a_hole_takes_no_gradient_from_junk():
    layer = NumberTokens(3)
    x, flags = keras.Input((2,)), keras.Input((2,))
    model = keras.Model([x, flags], keras.ops.sum(layer(x, flags), axis=(1, 2))[:, None])
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    before = layer.get_weights()
    values = np.array([[np.nan, 1.0], [np.nan, np.inf]], "float32")
    model.train_on_batch([values, np.array([[0, 1], [0, 0]], "float32")], np.zeros((2, 1)))
    slope, offset, hole = (new - old for new, old in zip(layer.get_weights(), before, strict=True))
    assert not slope[0].any()
    assert not offset[0].any()
    assert all(change.all() and np.isfinite(change).all() for change in (slope[1], offset[1], hole[0], hole[1]))


@pytest.mark.parametrize("columns", [{"numeric": ["a", "b"]}, {"categorical": ["a", "b"]}])
def test_feature_tokens_of_one_kind(columns):
    fitted = {"means": [1, 0], "std": [2, 1]} if "numeric" in columns else {"means": [], "std": []}
    words = [["x"], ["y", "z"]] if "categorical" in columns else []
    feature = Tabular(**columns, **fitted, vocabularies=words)
    model = contracts.small_tower("feature_tokens", "table", "all", feature=feature)
    assert contracts.outputs(model, contracts.sample(feature))[0].shape == (5, 2, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hop": 0}, r"'audio': expected hop to be seconds from 0\.00025, a sample at 4000 Hz, received 0"),
        ({"window": -1}, "expected window to be seconds from .* received -1"),
        ({"window": 2}, "expected a window below twice the recording of 2000 samples, received 8192"),
        ({"mels": 0}, "expected mels to be a whole number above 0, received 0"),
        ({"depth": 0}, "expected depth to be a whole number above 0, received 0"),
        ({"kind": "waveform", "window": "10 ms"}, "expected window to be seconds from .* received '10 ms'"),
    ],
)
def test_options_of_a_spectrogram_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        tower(SOUND, {"kind": "spectrogram", **options}, width=8, name="audio")
