from dataclasses import replace

import contracts
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from mmkeras.errors import InputError
from mmkeras.schema import Image
from mmkeras.towers import from_model, tower

FILM, PICTURE = contracts.FEATURES["film"], contracts.FEATURES["image"]
WAYS = ("mean", "lstm", "transformer")


def image(choice, feature=PICTURE, width=8):
    return tower(feature, choice, width=width, name="image")


def film(tokens="one", feature=FILM, width=8, **options):
    choice = {"kind": "frames", "tokens": tokens, "depth": 1, **options}
    return tower(feature, choice, width=width, name="film")


def layers(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def inner(model, layer, x):
    return contracts.outputs(keras.Model(model.inputs, model.get_layer(layer).output), x)[0]


@pytest.mark.parametrize(("size", "depth"), [((8, 11), 1), ((28, 28), 3), ((5, 5), 1), ((3, 6), 1), ((33, 64), 4)])
def test_residual_halves_until_four_places(size, depth):
    model = image("residual", Image(*size, 1))
    assert len(layers(model, keras.layers.Add)) == depth
    assert min(layers(model, keras.layers.Add)[-1].output.shape[1:3]) <= 4


def test_residual_adds_the_shortcut():
    """With the last convolution of a block at zero, the block is its shortcut: every other place, normalised."""
    model, x = image({"kind": "residual", "filters": 4, "depth": 1}), contracts.sample(PICTURE)
    layer = model.get_layer("image_block0_conv1")
    layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    kernel, bias = model.get_layer("image_block0_shortcut").get_weights()
    before = inner(model, "image_conv", x)
    assert before.shape == (5, 12, 10, 4)
    assert model.get_layer("image_block0_norm").groups == 4, "one channel a group where there are fewer than 8"
    normed = (before - before.mean(axis=(1, 2), keepdims=True)) / np.sqrt(before.var(axis=(1, 2), keepdims=True) + 1e-3)
    expected = np.maximum(normed, 0)[:, ::2, ::2] @ kernel[0, 0] + bias
    np.testing.assert_allclose(inner(model, "image_block0_add", x), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "patch", "grid"), [((28, 28), None, (7, 7)), ((32, 20), None, (8, 5)), ((12, 10), 5, (3, 2))]
)
def test_vit_cuts_into_patches(size, patch, grid):
    model = image({"kind": "vit", "patch": patch, "tokens": "all"}, Image(*size, 1))
    assert model.get_layer("image_patches").output.shape == (None, *grid, 8)
    assert model.get_layer("image_positions").grid == grid
    assert model.output_shape == (None, grid[0] * grid[1], 8)


def test_vit_pads_with_black_on_either_side():
    """12 x 10 pixels in patches of 5: three rows too few, one before and two after."""
    model, x = image({"kind": "vit", "patch": 5}), contracts.sample(PICTURE)
    kernel, bias = model.get_layer("image_patches").get_weights()
    padded = np.pad(x / 255, [[0, 0], [1, 2], [0, 0], [0, 0]])
    cut = padded.reshape(5, 3, 5, 2, 5).transpose(0, 1, 3, 2, 4).reshape(5, 3, 2, 25)
    np.testing.assert_allclose(inner(model, "image_patches", x), cut @ kernel.reshape(25, 8) + bias, atol=1e-5)


def test_vit_knows_places():
    """Two patches exchanged are another picture, also to the mean of the patches."""
    model, x = image({"kind": "vit", "patch": 2}), contracts.sample(PICTURE)
    moved = x.copy()
    moved[:, :2, :2], moved[:, -2:, -2:] = x[:, -2:, -2:], x[:, :2, :2]
    assert np.abs(contracts.outputs(model, moved)[0] - contracts.outputs(model, x)[0]).max() > 1e-3


@pytest.fixture(scope="module")
def network():
    """The small MobileNetV3 as a user saves it, random."""
    return keras.applications.MobileNetV3Small(weights=None, include_top=False, input_shape=(None, None, 3))


def test_mobile_reads_a_file_and_freezes(network, tmp_path):
    path = tmp_path / "small.weights.h5"
    network.save_weights(path)
    model = image({"kind": "mobile", "weights": path, "trainable": False})
    backbone = model.get_layer("image_frozen").layer
    for new, old in zip(backbone.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)
    assert [weight.shape[-1] for weight in model.trainable_weights] == [8, 8]
    x = contracts.sample(Image(32, 32))
    large = image({"kind": "mobile", "weights": str(path), "trainable": False, "tokens": "all"}, Image(32, 32))
    kernel, bias = large.get_layer("image_dense").get_weights()
    grid = ops.convert_to_numpy(network(x.astype("float32"), training=False)).reshape(5, 1, -1)
    np.testing.assert_allclose(contracts.outputs(large, x)[0], np.maximum(grid @ kernel + bias, 0), atol=1e-4)


def test_mobile_counts_at_inference_what_it_saw_in_training():
    """After some passes over the same rows the running statistics are theirs, so both answer alike."""
    model, x = image({"kind": "mobile"}), contracts.sample(PICTURE)
    training = tf.function(lambda: model(x, training=True))
    for _ in range(150):
        trained = training()
    assert np.std(trained) > 0.1
    np.testing.assert_allclose(contracts.outputs(model, x)[0], trained, atol=0.02)


@pytest.mark.parametrize(
    ("feature", "options", "shape"),
    [
        (Image(12, 10, 1), {}, (38, 32, 3)),
        (Image(40, 36, 3), {}, (40, 36, 3)),
        (Image(24, 16, 3), {"min_side": 64, "alpha": 0.5}, (96, 64, 3)),
    ],
)
def test_mobile_enlarges_small_pictures(feature, options, shape):
    model = image({"kind": "mobile", "trainable": False, **options}, feature)
    assert model.get_layer("image_rescale").output.shape == (None, *shape)
    x = np.stack([np.full(feature.shape, value, "uint8") for value in (0, 51, 255)])
    np.testing.assert_allclose(inner(model, "image_rescale", x)[:, 0, 0, 0], [-1, -0.6, 1], atol=1e-6)


def test_imagenet_without_a_network(monkeypatch):
    def offline(**options):
        raise Exception("URL fetch failure on https://storage.googleapis.com")

    monkeypatch.setattr(keras.applications, "MobileNetV3Small", offline)
    with pytest.raises(
        InputError, match=r"'image': weights='imagenet' could .*URL fetch failure.* with model.save_weights"
    ):
        image({"kind": "mobile", "weights": "imagenet"})


def test_weights_that_do_not_fit(network, tmp_path):
    network.save_weights(tmp_path / "small.weights.h5")
    with pytest.raises(InputError, match=r"'image': weights '.*small.weights.h5' do not fit"):
        image({"kind": "mobile", "size": "large", "weights": tmp_path / "small.weights.h5"})


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"kind": "mobile", "size": "smal"}, "'image': unknown value of size 'smal'; did you mean 'small'"),
        ({"kind": "mobile", "min_side": 16}, "'image': expected min_side to be a whole number from 32, received 16"),
        ({"kind": "mobile", "alpha": 0}, "'image': expected alpha to be a number above 0, received 0"),
        ({"kind": "mobile", "trainable": "no"}, "'image': expected trainable to be True or False, received 'no'"),
        ({"kind": "mobile", "weights": "no.h5"}, "'image': expected weights to be .* no such file 'no.h5'"),
        ({"kind": "conv", "depth": 0}, "'image': expected depth to be a whole number above 0, received 0"),
        ({"kind": "conv", "filters": 2.0}, "'image': expected filters to be a whole number above 0, received 2.0"),
        ({"kind": "conv", "dropout": 1.5}, "'image': expected dropout to be from 0 to below 1, received 1.5"),
        ({"kind": "residual", "depth": 0}, "'image': expected depth to be a whole number above 0, received 0"),
        ({"kind": "residual", "tokens": "mean"}, "'image': unknown value of tokens 'mean'"),
        ({"kind": "vit", "patch": 13}, "'image': expected patch to be a whole number from 1 to 12, received 13"),
        ({"kind": "vit", "heads": 3}, "'image': expected width to be a multiple of heads, .* heads=3"),
        ({"kind": "vit", "depth": 0}, "'image': expected depth to be a whole number above 0, received 0"),
    ],
)
def test_refused(choice, message):
    with pytest.raises(InputError, match=message):
        image(choice)


@pytest.mark.parametrize("over", WAYS)
@pytest.mark.parametrize("tokens", ["one", "all"])
def test_frames_hear_no_padding(over, tokens):
    """Junk behind the end changes nothing, nor does a longer padding."""
    keras.utils.set_random_seed(0)
    model, (x, lengths) = film(tokens, over=over), contracts.sample(FILM)
    lengths[:2] = 0, FILM.frames
    junk = np.where((np.arange(FILM.frames) >= lengths[:, None])[..., None, None, None], 255, x).astype("uint8")
    expected = contracts.outputs(model, [x, lengths])
    for new, old in zip(contracts.outputs(model, [junk, lengths]), expected, strict=True):
        np.testing.assert_array_equal(new, old)
    longer = film(tokens, replace(FILM, frames=7), over=over)
    longer.set_weights(model.get_weights())
    values, *mask = contracts.outputs(longer, [np.pad(x, [[0, 0], [0, 4], *[[0, 0]] * 3]), lengths])
    np.testing.assert_allclose(values[:, : expected[0].shape[1]], expected[0], atol=1e-5)
    assert not values[:, expected[0].shape[1] :].any()
    if tokens == "all":
        np.testing.assert_array_equal(mask[0].sum(axis=1), lengths)


@pytest.mark.parametrize("over", WAYS[1:])
def test_frames_over_time(over, tmp_path):
    """The order of the frames counts, unlike in their mean; weights are reached, files are read back."""
    keras.utils.set_random_seed(0)
    (x, _), lengths = contracts.sample(FILM, rows=16), np.full(16, FILM.frames, "int32")
    backwards = x[:, ::-1]
    mean = film(over="mean")
    there, back = (contracts.outputs(mean, [values, lengths])[0] for values in (x, backwards))
    np.testing.assert_allclose(there, back, atol=1e-5)
    model = film(over=over)
    there, back = (contracts.outputs(model, [values, lengths])[0] for values in (x, backwards))
    assert np.abs(there - back).max() > 1e-3
    contracts.round_trip_is_equal(model, [x, lengths], tmp_path / "film.keras")
    contracts.gradients_reach_every_weight(film(over=over, width=16), [x, lengths])


def test_frames_read_by_any_pictures_tower():
    """Each frame becomes what that tower makes of it as a picture."""
    x, lengths = contracts.sample(FILM)
    choice = {"kind": "vit", "patch": 4, "depth": 1}
    pictures = tower(Image(FILM.height, FILM.width, 1), choice, width=8, name="film")
    model = film("all", tower=choice)
    model.set_weights(pictures.get_weights())
    values, mask = contracts.outputs(model, [x, lengths])
    flat = contracts.outputs(pictures, x.reshape(-1, *FILM.shape[1:]))[0].reshape(5, FILM.frames, 8)
    np.testing.assert_allclose(values, flat * mask[..., None], atol=1e-5)
    eye = keras.Input((8, 7, 1))
    own = from_model(keras.Model(eye, keras.layers.Flatten()(eye)))
    assert film(tower=own, over="lstm").output_shape == (None, 1, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tower": "con"}, "'film': unknown tower 'con'; did you mean 'conv'"),
        ({"tower": "lstm"}, r"'film': tower 'lstm' reads Text .*, received Image \(8, 7, 1\)"),
        ({"tower": {"kind": "vit", "pach": 2}}, "'film': unknown option of tower 'vit': 'pach'; did you mean 'patch'"),
        ({"over": "transformer", "heads": 3}, "expected width to be a multiple of heads, received width=8, heads=3"),
        ({"over": "lstm", "depth": 0}, "expected layers to be a whole number above 0, received 0"),
    ],
)
def test_frames_refused(options, message):
    with pytest.raises(InputError, match=message):
        film(**options)


@pytest.mark.parametrize("kind", ["residual", "mobile", "vit"])
def test_mixed_precision(kind):
    """Pixels are rescaled in float32, whatever the policy; the answers are finite."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = image({"kind": kind, "tokens": "all"})
        values = contracts.outputs(model, contracts.sample(PICTURE))[0].astype("float32")
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("image_rescale").dtype_policy.compute_dtype == "float32"
    assert np.isfinite(values).all()
