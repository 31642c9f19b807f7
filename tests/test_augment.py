from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras.augment import augmenter
from mmkeras.errors import InputError

ROWS = 64
SCHEMA = mk.Schema(
    inputs={
        "image": mk.Image(21, 21, 1),
        "colour": mk.Image(8, 12, 3),
        "audio": mk.Audio(sampling_rate=1000, seconds=0.5),
        "question": mk.Text(40, vocabulary=["a", "b", "c"]),
        "trace": mk.Series(9, 2),
    },
    targets={"answer": mk.Category(["a", "b"])},
)
EVERYTHING = {
    "image": {"flip": "both", "crop": 0.2, "rotate": 20, "brightness": 0.2, "contrast": 0.3},
    "colour": {"flip": True, "crop": 0.1, "colour": 0.3},
    "audio": {"shift": 0.05, "gain": 6, "noise": 10},
    "question": {"drop": 0.3},
}


def changed(name, x, options, seed=0, step=0):
    """One input after augmentation, as numpy."""
    return augmenter(SCHEMA, {name: options}, seed)({name: tf.constant(x)}, step)[name].numpy()


def noise_pictures(name="image", rows=ROWS):
    return np.random.default_rng(0).integers(0, 256, (rows, *SCHEMA.inputs[name].shape)).astype("uint8")


def smooth_pictures(row, rows=ROWS):
    """The same picture of 21 x 21 from a function of x and y from the centre, in each row."""
    y, x = np.mgrid[-10:11, -10:11]
    return np.repeat(row(x, y)[None, ..., None], rows, axis=0).round().astype("uint8")


def tones(rows=ROWS, amplitude=0.25):
    wave = amplitude * np.sin(2 * np.pi * 50 * np.arange(500) / 1000)
    return np.repeat(wave[None], rows, axis=0).astype("float32")


def sentences(rows=ROWS, length=40):
    random = np.random.default_rng(0)
    words = random.integers(2, 5, (rows, length))
    lengths = random.integers(1, length + 1, (rows, 1))
    return np.where(np.arange(length) < lengths, words, 0).astype("int32")


def a_batch():
    return {
        "image": noise_pictures(),
        "colour": noise_pictures("colour"),
        "audio": np.random.default_rng(1).uniform(-1, 1, (ROWS, 500)).astype("float32"),
        "question": sentences(),
    }


def test_dtypes_shapes_and_ranges_stay():
    inputs = a_batch()
    outputs = augmenter(SCHEMA, EVERYTHING)({name: tf.constant(x) for name, x in inputs.items()}, 3)
    assert list(outputs) == list(inputs)
    for name, x in outputs.items():
        assert x.dtype == inputs[name].dtype
        assert x.shape == inputs[name].shape
        assert not np.array_equal(x, inputs[name])
    assert np.abs(outputs["audio"]).max() <= 1
    assert set(np.unique(outputs["question"])) == {0, 1, 2, 3, 4}


def test_what_has_no_options_passes_through():
    inputs = {**a_batch(), "image_present": np.ones(ROWS, bool)}
    outputs = augmenter(SCHEMA, {"question": {"drop": 0.5}, "audio": {}, "trace": {}})(inputs, 0)
    assert list(outputs) == list(inputs)
    assert all(outputs[name] is inputs[name] for name in inputs if name != "question")
    assert "question" not in augmenter(SCHEMA, EVERYTHING)({"audio": inputs["audio"]}, 0)


@pytest.mark.parametrize("zero", [{"flip": False}, {"crop": 0}, {"rotate": 0}, {"brightness": 0}, {"contrast": 0}])
def test_zero_changes_no_pixel(zero):
    x = noise_pictures()
    np.testing.assert_array_equal(changed("image", x, zero), x)


def test_zero_changes_no_colour_sample_or_word():
    x = noise_pictures("colour")
    np.testing.assert_allclose(changed("colour", x, {"colour": 0}), x, atol=1)
    np.testing.assert_array_equal(changed("audio", tones(), {"shift": 0, "gain": 0}), tones())
    np.testing.assert_array_equal(changed("question", sentences(), {"drop": 0}), sentences())


@pytest.mark.parametrize("name", EVERYTHING)
def test_seed_and_step_give_the_numbers(name):
    x = a_batch()[name]
    first = changed(name, x, EVERYTHING[name], seed=5, step=7)
    np.testing.assert_array_equal(changed(name, x, EVERYTHING[name], seed=5, step=7), first)
    assert not np.array_equal(changed(name, x, EVERYTHING[name], seed=5, step=8), first)
    assert not np.array_equal(changed(name, x, EVERYTHING[name], seed=6, step=7), first)


@pytest.mark.parametrize("name", EVERYTHING)
def test_each_row_has_draws_of_its_own(name):
    same = np.repeat(a_batch()[name][:1], ROWS, axis=0)
    assert len(np.unique(changed(name, same, EVERYTHING[name]), axis=0)) > ROWS / 2


def test_two_inputs_of_one_kind_have_draws_of_their_own():
    schema = mk.Schema({"left": mk.Audio(1000, 0.5), "right": mk.Audio(1000, 0.5)}, SCHEMA.targets)
    options = {"left": {"gain": 6}, "right": {"gain": 6}}
    outputs = augmenter(schema, options)({"left": tones(), "right": tones()}, 0)
    assert not np.array_equal(outputs["left"], outputs["right"])


def test_the_same_in_tf_data_on_many_threads_and_eagerly():
    inputs, augment = a_batch(), augmenter(SCHEMA, EVERYTHING, seed=3)
    batches = tf.data.Dataset.from_tensor_slices(inputs).batch(10).enumerate()
    mapped = batches.map(lambda step, batch: augment(batch, step), num_parallel_calls=4)
    assert mapped.element_spec["image"].shape.as_list() == [None, 21, 21, 1]
    for (step, batch), outputs in zip(batches, mapped, strict=True):
        for name, expected in augment(batch, step).items():
            if expected.dtype == tf.uint8:  # rounding may fall to either side
                assert np.abs(expected.numpy().astype(int) - outputs[name].numpy()).max() <= 1
            else:
                np.testing.assert_allclose(outputs[name], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("flip", "axes"),
    [(True, [(), (1,)]), ("horizontal", [(), (1,)]), ("vertical", [(), (0,)]), ("both", [(), (0,), (1,), (0, 1)])],
)
def test_flip_gives_the_mirror(flip, axes):
    for name in ("image", "colour"):
        x = noise_pictures(name, rows=200)
        found = [
            next(a for a in axes if np.array_equal(new, np.flip(old, a)))
            for old, new in zip(x, changed(name, x, {"flip": flip}), strict=True)
        ]
        assert {a: found.count(a) > 0.6 * 200 / len(axes) for a in axes} == dict.fromkeys(axes, True)


def test_rotate_by_degrees_within_bounds():
    spot = smooth_pictures(lambda x, y: 250 * np.exp(-((x - 5) ** 2 + y**2) / 3))
    turned = changed("image", spot, {"rotate": 30})[..., 0].astype(float)
    y, x = np.mgrid[-10:11, -10:11]
    weight = turned.sum(axis=(1, 2))
    x, y = ((turned * place).sum(axis=(1, 2)) / weight for place in (x, y))
    degrees = np.degrees(np.arctan2(y, x))
    np.testing.assert_allclose(np.hypot(x, y), 5, atol=0.1)
    assert np.abs(degrees).max() < 30.5
    assert degrees.min() < -25
    assert degrees.max() > 25


def test_half_a_turn_equals_two_mirrors():
    """Among 400 draws one is close to 180 degrees, which is the picture mirrored along both axes."""
    x = smooth_pictures(lambda x, y: 120 + 6 * x + 5 * y, rows=400)
    turned = changed("image", x, {"rotate": 180}).astype(int)
    apart = np.abs(turned - np.flip(x, (1, 2)))[:, 5:16, 5:16].max(axis=(1, 2, 3))
    assert apart.min() <= 3


def test_crop_stretches_a_window_inside_the_picture():
    x = smooth_pictures(lambda x, y: 120 + 10 * x + 0 * y)
    cropped = changed("image", x, {"crop": 0.3})[:, 10, 1:-1, 0].astype(float)
    zoom = (cropped[:, -1] - cropped[:, 0]) / 10 / 18
    middle = (cropped.mean(axis=1) - 120) / 10
    assert 0.69 < zoom.min() < 0.75
    assert 0.95 < zoom.max() < 1.01
    assert (np.abs(middle) <= (1 - zoom) * 21 / 2 + 0.1).all()
    assert np.abs(middle).max() > 1
    np.testing.assert_allclose(np.diff(cropped, axis=1), np.repeat(10 * zoom[:, None], 18, axis=1), atol=1.1)


def test_brightness_adds_one_number_to_all_pixels():
    x = smooth_pictures(lambda x, y: 120 + x + y)
    change = changed("image", x, {"brightness": 0.2}).astype(int) - x
    assert np.ptp(change.reshape(ROWS, -1), axis=1).max() == 0
    assert -51 <= change.min() < -40
    assert 40 < change.max() <= 51


def test_contrast_scales_the_distance_from_the_mean_as_keras_does():
    x = smooth_pictures(lambda x, y: 120 + 4 * x + 3 * y)
    new = changed("image", x, {"contrast": 0.4}).astype(float)
    factor = new.std(axis=(1, 2, 3)) / x.std(axis=(1, 2, 3))
    np.testing.assert_allclose(new.mean(axis=(1, 2, 3)), 120, atol=0.5)
    assert 0.59 < factor.min() < 0.7
    assert 1.3 < factor.max() < 1.41
    keras_layer = keras.layers.RandomContrast(0.4)
    expected = keras_layer.transform_images(x.astype("float32"), {"contrast_factor": factor[:, None, None, None]})
    np.testing.assert_allclose(new, expected, atol=1.5)


def test_colour_turns_the_hue_and_scales_the_saturation():
    x = np.full((200, 8, 12, 3), (200, 100, 100), "uint8")  # hue 0, saturation 1/2, value 200
    new = tf.image.rgb_to_hsv(changed("colour", x, {"colour": 0.4}) / 255)[:, 0, 0].numpy()
    hue = (new[:, 0] + 0.5) % 1 - 0.5
    assert -0.21 < hue.min() < -0.17
    assert 0.17 < hue.max() < 0.21
    assert 0.29 < new[:, 1].min() < 0.34
    assert 0.66 < new[:, 1].max() < 0.71
    np.testing.assert_allclose(new[:, 2], 200 / 255, atol=1e-2)
    grey = np.full((4, 8, 12, 3), 77, "uint8")
    np.testing.assert_allclose(changed("colour", grey, {"colour": 1}), grey, atol=1)


def test_shift_moves_by_samples_and_silence_moves_in():
    x = np.random.default_rng(0).uniform(0.1, 1, (200, 500)).astype("float32")
    later = []
    for old, new in zip(x, changed("audio", x, {"shift": 0.05}), strict=True):
        by = int(np.flatnonzero(new)[0]) or -int((new == 0).sum())
        expected = np.zeros_like(old)
        expected[max(by, 0) : 500 + min(by, 0)] = old[max(-by, 0) : 500 - max(by, 0)]
        np.testing.assert_array_equal(new, expected)
        later.append(by)
    assert -50 <= min(later) < -40
    assert 40 < max(later) <= 50


def test_gain_in_decibels():
    new = changed("audio", tones(), {"gain": 6})
    decibels = 20 * np.log10(new.std(axis=1) / tones().std(axis=1))
    assert -6.01 < decibels.min() < -4.5
    assert 4.5 < decibels.max() < 6.01
    assert np.abs(changed("audio", tones(amplitude=1.0), {"gain": 20})).max() == 1


def test_noise_in_decibels():
    x = tones(rows=200)
    noise = changed("audio", x, {"noise": 15}) - x
    ratio = 10 * np.log10((x**2).mean(axis=1) / (noise**2).mean(axis=1))
    assert 14 < ratio.min() < 17
    assert 33 < ratio.max() < 36
    assert abs(ratio.mean() - 25) < 2
    assert np.abs(noise.mean(axis=1)).max() < 0.02
    silence = np.zeros((4, 500), "float32")
    np.testing.assert_array_equal(changed("audio", silence, {"noise": 15}), silence)


def test_noise_is_by_the_level_after_the_gain():
    x = tones(rows=200, amplitude=0.01)
    new = changed("audio", x, {"gain": 30, "noise": 10})
    # what is left after taking out the best multiple of the tone
    tone = (new * x).sum(axis=1, keepdims=True) / (x * x).sum(axis=1, keepdims=True) * x
    ratio = 10 * np.log10((tone**2).mean(axis=1) / ((new - tone) ** 2).mean(axis=1))
    assert 9 < ratio.min() < 12
    assert 28 < ratio.max() < 31


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_words_drop_at_the_given_rate(probability):
    x = np.random.default_rng(0).integers(2, 5, (500, 40)).astype("int32")
    x[:, 30:] = 0
    new = changed("question", x, {"drop": probability})
    dropped = new != x
    assert set(new[dropped]) == {1}
    assert not dropped[:, 30:].any()
    # 15000 words: three standard deviations
    assert abs(dropped[:, :30].mean() - probability) < 3 * np.sqrt(probability * (1 - probability) / 15000)


def test_one_word_always_stays():
    x = sentences(rows=300)
    new = changed("question", x, {"drop": 1})
    assert (new == x)[x != 0].sum() == 300
    assert ((new > 1).sum(axis=1) == 1).all()
    np.testing.assert_array_equal(new == 0, x == 0)
    empty = np.zeros((3, 40), "int32")
    np.testing.assert_array_equal(changed("question", empty, {"drop": 1}), empty)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"imgae": {}}, "augment: unknown input 'imgae'; did you mean 'image'"),
        ({"image": {"rotat": 3}}, "augment: 'image': unknown option of Image 'rotat'; did you mean 'rotate'"),
        ({"image": {"noise": 3}}, "'image': unknown option of Image 'noise'.*Known: brightness, colour, contrast"),
        ({"audio": {"flip": True}}, "'audio': unknown option of Audio 'flip'.*Known: gain, noise, shift"),
        ({"question": {"crop": 0.1}}, "'question': unknown option of Text 'crop'.*Known: drop"),
        ({"image": {"flip": "sideways"}}, "expected flip to be one of False, True, 'horizontal'.*received 'sideways'"),
        ({"image": {"flip": 1}}, "expected flip to be one of .*received 1"),
        ({"image": {"crop": 1.0}}, r"expected crop to be from 0 to 0.9 \(share of the sides\), received 1.0"),
        ({"image": {"rotate": -5}}, r"expected rotate to be from 0 to 180 \(degrees\), received -5"),
        ({"image": {"brightness": 51}}, "expected brightness to be from 0 to 1"),
        ({"image": {"contrast": True}}, "expected contrast to be from 0 to 1 .*received True"),
        ({"image": {"colour": 0.1}}, "'image': expected 3 channels for colour, received 1"),
        ({"audio": {"shift": 0.6}}, r"expected shift to be from 0 to 0.5 \(seconds\), received 0.6"),
        ({"audio": {"gain": float("nan")}}, r"expected gain to be from 0 to 60 \(dB\), received nan"),
        ({"audio": {"noise": "30"}}, r"expected noise to be from -20 to 100 \(dB\), received '30'"),
        ({"question": {"drop": 1.5}}, r"expected drop to be from 0 to 1 \(probability\), received 1.5"),
        (
            {"trace": {"gain": 3}},
            "'trace': unknown option of Series 'gain'.*Known: noise, scale, warp",
        ),
        ({"image": "flip"}, "'image': expected a dict of options, received 'flip'"),
        (["image"], "expected a dict of input name -> options"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InputError, match=message):
        augmenter(SCHEMA, options)


def test_a_seed_that_is_none():
    with pytest.raises(InputError, match="expected seed to be a whole number, received None"):
        augmenter(SCHEMA, {}, seed=None)


def test_a_kind_of_ones_own():
    """Registered by the user; what it leaves after the end of a row is made 0 again."""

    @dataclass(frozen=True)
    class Cloud(mk.inputs.Input):
        shape = (7, 3)
        padded = True

    @mk.augment.register(Cloud)
    class Shaken(mk.augment.Augmentation):
        limits = {"jitter": (0, 1, "metres")}  # noqa: RUF012

        def apply(self, x, draws, options, feature):
            return x + draws.around("jitter", feature.shape, options["jitter"])

    @dataclass(frozen=True)
    class Plain(mk.inputs.Input):
        shape = (2,)

    try:
        mk.inputs.register("Plain")(Plain)
        with pytest.raises(
            InputError, match=r"'p': unknown kind 'Plain': no augmentation is known for it; expected one "
        ):
            augmenter(mk.Schema({"p": Plain()}, SCHEMA.targets), {"p": {"gain": 3}})
        mk.inputs.register("Cloud")(Cloud)
        schema = mk.Schema({"cloud": Cloud()}, SCHEMA.targets)
        with pytest.raises(InputError, match=r"expected jitter to be from 0 to 1 \(metres\), received 2"):
            augmenter(schema, {"cloud": {"jitter": 2}})
        inputs = {"cloud": tf.zeros((4, 7, 3)), "cloud_length": tf.constant([0, 1, 7, 3])}
        cloud = augmenter(schema, {"cloud": {"jitter": 0.1}})(inputs, 0)["cloud"].numpy()
    finally:
        mk.augment.AUGMENTATIONS.pop(Cloud)
        mk.inputs.INPUTS.pop("Cloud")
        mk.inputs.INPUTS.pop("Plain")
    assert ((cloud != 0).all(axis=2).sum(axis=1) == [0, 1, 7, 3]).all()
    assert 0 < np.abs(cloud).max() <= 0.1
