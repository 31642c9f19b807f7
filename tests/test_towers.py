from dataclasses import dataclass, replace

import contracts
import keras
import numpy as np
import pytest

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.inputs import Input
from mmkeras.layers import SpecAugment, Tokens, hide_padding
from mmkeras.schema import Audio, Image, Series, Tabular
from mmkeras.towers import DEFAULTS, TOWERS, fronts, tower


def test_every_tower_is_tested():
    silent = set(TOWERS) - {kind for kind, _ in contracts.READS}
    assert not silent, f"expected an annotation of `feature` that says what they read: {', '.join(sorted(silent))}"


def shape_dtype_and_name(case):
    values, *mask = case.y
    assert case.model.name == f"{case.name}_tower"
    assert values.dtype == np.float32
    assert values.shape == (5, case.model.outputs[0].shape[1], contracts.WIDTH)
    if case.kind not in contracts.ONE_TOKEN:  # it has the option, and has to obey it
        assert (values.shape[1] == 1) == (case.tokens == "one")
    assert all(m.dtype == bool and m.shape == values.shape[:2] for m in mask)


def round_trip(case):
    contracts.round_trip_is_equal(case.model, case.x, case.folder / "tower.keras", case.y)


def order_of_the_batch(case):
    contracts.order_of_the_batch_changes_nothing(case.model, case.x, case.y)


def rows_do_not_see_each_other(case):
    contracts.rows_do_not_see_each_other(case.model, case.x, case.y)


def junk_behind_the_length_changes_nothing(case):
    if case.feature.padded:
        clean, junk = case.junk(rows=5)
        new, old = (contracts.outputs(case.model, given) for given in (junk, clean))
        for after, before in zip(new, old, strict=True):
            np.testing.assert_array_equal(after, before)


def longer_padding_changes_nothing(case):
    """The same weights on the same values in a longer input, by an odd number of steps."""
    if case.feature.padded:
        values, lengths = case.x
        padded = [np.pad(values, [[0, 0], [0, 7], *[[0, 0]] * (values.ndim - 2)]), lengths]
        old, new = case.y, case.of_longer_inputs(padded, {"depth": 2} if case.kind == "conv1d" else {})
        np.testing.assert_allclose(new[0][:, : old[0].shape[1]], old[0], atol=1e-6)
        if case.tokens == "all":
            np.testing.assert_array_equal(new[1][:, : old[1].shape[1]], old[1])
            assert not new[0][~new[1]].any(), "expected zeros behind the mask"


def padding_of_words_changes_nothing(case):
    if case.feature.zero_is_padding:
        ids = np.array([[2, 3, 2, 3, 0, 0], [3, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], "int32")
        padded = np.pad(ids, [[0, 0], [0, 7]])
        old, new = contracts.outputs(case.model, ids), case.of_longer_inputs(padded, {})
        np.testing.assert_allclose(new[0][:, : old[0].shape[1]], old[0], atol=1e-5)
        assert not old[0][2].any(), "expected zeros for a sentence without words, before training"
        if case.tokens == "all":
            np.testing.assert_array_equal(new[1], padded != 0)
            assert not new[0][~new[1]].any(), "expected zeros behind the mask"


def gradients_reach_every_weight(case):
    """Of a padded input with junk behind the ends, which must not become NaN. It changes the weights: the last law."""
    padded = case.feature.padded
    x = case.junk(rows=32)[1] if padded else contracts.sample(case.feature, rows=32)
    contracts.gradients_reach_every_weight(case.model, x)
    assert all(np.isfinite(weight).all() for weight in case.model.get_weights())


LAWS = [
    shape_dtype_and_name,
    round_trip,
    order_of_the_batch,
    rows_do_not_see_each_other,
    junk_behind_the_length_changes_nothing,
    longer_padding_changes_nothing,
    padding_of_words_changes_nothing,
    gradients_reach_every_weight,
]


class Case:
    """One tower, built once, and what the laws are tried with."""

    def __init__(self, kind, name, tokens, folder):
        self.kind, self.name, self.tokens, self.folder = kind, name, tokens, folder
        self.feature = contracts.FEATURES[name]
        keras.utils.set_random_seed(0)
        self.model = contracts.small_tower(kind, name, tokens)
        self.x = contracts.with_an_empty_row(contracts.sample(self.feature))
        self.y = contracts.outputs(self.model, self.x)

    def junk(self, rows):
        """Values with zeros, and with junk, behind their ends; of the first two no steps and all steps are there."""
        clean, lengths = contracts.sample(self.feature, rows)
        lengths[:2] = 0, self.feature.shape[0]
        behind = np.arange(self.feature.shape[0]) >= lengths[:, None]
        clean[behind] = 0
        junk = clean.copy()
        junk[behind] = 255 if self.feature.dtype == "uint8" else np.nan
        return [clean, lengths], [junk, lengths]

    def of_longer_inputs(self, padded, options):
        """The outputs of a tower with the same weights for inputs of seven steps more."""
        field = "frames" if self.name == "film" else "length"
        longer = replace(self.feature, **{field: self.feature.shape[0] + 7})
        large = contracts.small_tower(self.kind, self.name, self.tokens, feature=longer, **options)
        large.set_weights(self.model.get_weights())
        return contracts.outputs(large, padded)


@pytest.mark.parametrize(("kind", "name", "tokens"), contracts.CASES)
def test_laws(kind, name, tokens, tmp_path):
    contracts.obeys(LAWS, Case(kind, name, tokens, tmp_path))


def test_a_broken_law_is_named():
    def first(case):
        assert case == 1, "one"

    def second(case):
        assert case == 2, "two"

    contracts.obeys([second], 2)
    with pytest.raises(AssertionError, match=r"(?s)first: one.*second: two"):
        contracts.obeys([first, second], 3)


@pytest.mark.parametrize(("kind", "name"), contracts.READS)
def test_mixed_bfloat16_trains(kind, name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = contracts.small_tower(kind, name)
        x = contracts.sample(contracts.FEATURES[name])
        contracts.one_step(model, x)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.outputs[0].dtype == "bfloat16"
    assert all(np.isfinite(np.array(value, "float32")).all() for value in contracts.outputs(model, x))
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_the_mask_shrinks_with_the_steps():
    model = contracts.small_tower("conv1d", "trace", "all", depth=2)
    lengths = np.array([0, 1, 4, 5, 20], "int32")
    _, mask = contracts.outputs(model, [contracts.sample(contracts.FEATURES["trace"])[0], lengths])
    assert mask.sum(axis=1).tolist() == [0, 1, 1, 2, 5]


def test_conv1d_halves_to_eight_steps():
    depths = {8: 1, 16: 1, 17: 2, 33: 3, 65: 4, 1000: 4}
    for steps, depth in depths.items():
        model = tower(Series(steps, means=[0], std=[1]), "conv1d", width=4, name="trace")
        assert sum(isinstance(layer, keras.layers.Conv1D) for layer in model.layers) == depth, steps


@pytest.mark.parametrize("kind", ["conv1d", "lstm", "gru", "transformer"])
def test_traces_are_standardised_inside(kind):
    model = contracts.small_tower(kind, "trace")
    x, lengths = contracts.sample(contracts.FEATURES["trace"])
    standard = keras.Model(model.inputs, model.get_layer("trace_standardised").output)
    np.testing.assert_allclose(contracts.outputs(standard, [x, lengths])[0], (x - [1, -2]) / [2, 3], atol=1e-6)


def test_holes_of_a_table_are_the_mean():
    feature = contracts.FEATURES["table"]
    model = contracts.small_tower("mlp", "table")
    columns = keras.Model(model.inputs, model.get_layer("table_columns").output)
    given = np.array([[60, 0, 1, 0, 3], [0, 30, 0, 1, 0]], "float32")
    words = model.get_layer("table_embedding0").get_weights()[0]
    assert words.shape == (len(feature.vocabularies[0]) + 2, 8)
    expected = [[2, 0, 1, 0, *words[3]], [0, -2, 0, 1, *words[0]]]
    np.testing.assert_allclose(contracts.outputs(columns, given)[0], expected, atol=1e-6)
    junk = given.copy()
    junk[0, 1] = np.nan
    np.testing.assert_array_equal(contracts.outputs(model, junk)[0], contracts.outputs(model, given)[0])


@pytest.mark.parametrize("columns", [{"numeric": ["a"]}, {"categorical": ["a"]}])
def test_tables_of_one_kind(columns):
    fitted = {"means": [1], "std": [2]} if "numeric" in columns else {"means": [], "std": []}
    words = [["x"]] if "categorical" in columns else []
    feature = Tabular(**columns, **fitted, vocabularies=words)
    values = contracts.outputs(tower(feature, None, width=4, name="table"), contracts.sample(feature))[0]
    assert values.shape == (5, 1, 4)


def test_frames_are_the_pictures_of_conv():
    """Every frame becomes what `conv` makes of it as a picture; one token is their mean."""
    film, rows = contracts.FEATURES["film"], 4
    pictures = tower(Image(film.height, film.width, 1), "conv", width=8, name="film")
    every, one = contracts.small_tower("frames", "film", "all"), contracts.small_tower("frames", "film", "one")
    every.set_weights(pictures.get_weights())
    one.set_weights(pictures.get_weights())
    x, lengths = contracts.sample(film, rows)
    flat = contracts.outputs(pictures, x.reshape(-1, *film.shape[1:]))[0].reshape(rows, film.frames, 8)
    values, mask = contracts.outputs(every, [x, lengths])
    np.testing.assert_allclose(values, flat * mask[..., None], atol=1e-5)
    mean = (flat * mask[..., None]).sum(axis=1) / lengths[:, None]
    np.testing.assert_allclose(contracts.outputs(one, [x, lengths])[0][:, 0], mean, atol=1e-5)


def test_nan_behind_the_mask_is_hidden():
    @mk.towers.register("leaky")
    def leaky(x, *, mask, width, name):
        values = keras.ops.where(mask[..., None], 1.0, np.nan) * keras.ops.ones((1, 1, width))
        return Tokens(values, mask)

    try:
        model = tower(contracts.FEATURES["question"], "leaky", width=4, name="question")
    finally:
        del TOWERS["leaky"]
    values, mask = contracts.outputs(model, np.array([[2, 3, 0, 0, 0, 0]], "int32"))
    np.testing.assert_array_equal(values[0, :, 0], [1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(mask[0], [True, True, False, False, False, False])


def test_pictures_are_scaled_inside():
    model = contracts.small_tower("conv", "image")
    x = contracts.sample(contracts.FEATURES["image"])
    rescaled = keras.Model(model.inputs, model.get_layer("image_rescale").output)
    np.testing.assert_allclose(contracts.outputs(rescaled, x)[0], x / 255.0, atol=1e-6)


def test_spectrogram_puts_a_tone_where_it_belongs():
    feature = Audio(sampling_rate=8000, seconds=0.5)
    model = tower(feature, "spectrogram", width=8, name="audio")
    mel = keras.Model(model.inputs, model.get_layer("audio_mel").output)
    seconds = np.arange(feature.samples) / feature.sampling_rate
    waves = np.stack([np.sin(2 * np.pi * hertz * seconds) for hertz in (500, 1500, 3000)]).astype("float32")
    loudest = contracts.outputs(mel, waves)[0].mean(axis=2).argmax(axis=1)
    # 64 bands evenly spaced in mel (2595 log10(1 + f / 700)) from 20 Hz to 4 kHz
    low, high = (2595 * np.log10(1 + f / 700) for f in (20, 4000))
    expected = [(2595 * np.log10(1 + f / 700) - low) / (high - low) * 65 - 1 for f in (500, 1500, 3000)]
    np.testing.assert_allclose(loudest, expected, atol=1.5)


def test_conv_halves_until_four_places():
    shapes = {8: 1, 28: 3, 64: 4, 5: 1, 3: 1}
    for size, depth in shapes.items():
        model = tower(Image(size, size + 3, 1), "conv", width=4, name="image")
        assert sum(isinstance(layer, keras.layers.MaxPooling2D) for layer in model.layers) == depth, size


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("image", "conv0"),
        ("question", "conv0_3"),
        ("audio", "mel"),
        ("trace", "conv0"),
        ("table", "dense0"),
        ("film", "conv0"),
    ],
)
def test_default_by_modality(name, layer):
    assert tower(contracts.FEATURES[name], None, width=4, name=name).get_layer(f"{name}_{layer}")


def test_registered_by_a_user():
    @mk.towers.register("mean")
    def mean(x, *, width, name, power=1):
        x = keras.ops.mean(keras.ops.cast(x, "float32"), axis=(1, 2)) ** power
        return Tokens(keras.layers.Dense(width, name=f"{name}_dense")(x)[:, None])

    try:
        mk.towers.register("mean")(mean)  # a cell of a notebook that is run again
        for name, part in (("conv", mean), ("mean", TOWERS["conv"])):
            with pytest.raises(InputError, match=f"tower '{name}' exists already"):
                mk.towers.register(name)(part)
        with pytest.raises(InputError, match=r'tower: expected a name, as @register\("mine"\), received <function'):
            mk.towers.register(mean)
        with pytest.raises(InputError, match=r"task 'mean': expected a Task that reads one of .*, received <function"):
            mk.tasks.register("mean")(mean)
        with pytest.raises(InputError, match="'image': expected 'kind', the name of a tower, among its options"):
            mk.build(contracts.small_schema(), towers={"image": {"power": 2}}, width=4)
        model = mk.build(contracts.small_schema(), towers={"image": {"kind": "mean", "power": 2}}, width=4)
        assert model.get_layer("image_tower").count_params() == 8
    finally:
        del TOWERS["mean"]


@dataclass(frozen=True)
class Cloud(Input):
    """Points in space, a kind of one's own."""

    shape = (7, 3)
    padded = True


def test_a_kind_of_ones_own():
    """It is refused until it has a tower; a front opens the towers that read step by step to it."""

    class CloudFront(fronts.Front):
        stride = 1

        def steps(self, x, mask, feature, name):
            return hide_padding(Tokens(x, mask)).values

        def depth(self, steps):
            return 1

    with pytest.raises(InputError, match=r"unknown kind 'Cloud': no default tower .*towers.register\(.*default_for="):
        tower(Cloud(), None, width=4, name="cloud")
    with pytest.raises(InputError, match="'cloud': tower 'lstm' reads Text or Series or Audio, received Cloud"):
        tower(Cloud(), "lstm", width=4, name="cloud")
    try:
        fronts.register(Cloud)(CloudFront)
        x = [np.random.default_rng(0).normal(size=(5, 7, 3)).astype("float32"), np.array([0, 1, 7, 3, 2], "int32")]
        for kind in ("lstm", "gru", "conv1d", "transformer"):
            model = tower(Cloud(), {"kind": kind, "tokens": "all"}, width=4, name="cloud")
            values, mask = contracts.outputs(model, x)
            np.testing.assert_array_equal(mask.sum(axis=1), x[1])
            assert values.shape == (5, 7, 4)
        with pytest.raises(InputError, match="'cloud': option 'mels' is for Audio, 'cloud' is Cloud"):
            tower(Cloud(), {"kind": "lstm", "mels": 8}, width=4, name="cloud")

        @mk.towers.register("points", default_for=(Cloud,))
        def points(x, *, mask, feature: Cloud, width, name):
            return Tokens(keras.layers.Dense(width, name=f"{name}_points")(x), mask)

        assert tower(Cloud(), None, width=4, name="cloud").get_layer("cloud_points")
        with pytest.raises(InputError, match=r"'image': tower 'points' reads Cloud, received Image \(12, 10, 1\)"):
            tower(contracts.FEATURES["image"], "points", width=4, name="image")
    finally:
        for table, key in ((fronts.FRONTS, Cloud), (TOWERS, "points"), (DEFAULTS, Cloud)):
            table.pop(key, None)


@pytest.mark.parametrize(
    ("feature", "choice", "message"),
    [
        ("image", "con", "'image': unknown tower 'con'; did you mean 'conv'"),
        ("image", {"kind": "conv", "filter": 3}, "unknown option of tower 'conv': 'filter'; did you mean 'filters'"),
        ("image", {"kind": "conv", "width": 0}, "'image': tower 'conv': expected width to be a whole number above 0"),
        ("image", {"kind": "conv", "filtres": 8}, "unknown option of tower 'conv': 'filtres'; did you mean 'filters'"),
        ("image", {"kind": "conv", "tokens": "eon"}, "unknown value of tokens 'eon'; did you mean 'one'"),
        ("question", "conv", r"'question': tower 'conv' reads Image, received Text \(6,\)"),
        ("image", "lstm", r"'image': tower 'lstm' reads .*Text.*, received Image \(12, 10, 1\)"),
        ("question", "spectrogram", "'question': tower 'spectrogram' reads Audio, received Text"),
        ("film", {"kind": "frames", "over": "maen"}, "'film': unknown value of over 'maen'; did you mean 'mean'"),
        ("trace", {"kind": "conv1d", "kernel": [3, 0]}, "'trace': expected kernel to be a whole number .* received 0"),
        ("trace", {"kind": "conv1d", "filters": 0}, "'trace': expected filters to be a whole number .* received 0"),
        ("trace", {"kind": "conv1d", "kernel": []}, r"'trace': expected kernel to be a whole number .* received \[\]"),
        ("trace", {"kind": "conv1d", "stride": True}, "'trace': expected stride to be a whole number .* received True"),
        ("trace", {"kind": "gru", "mels": 8}, "'trace': option 'mels' is for Audio, 'trace' is Series"),
        ("audio", {"kind": "lstm", "embedding": 8}, "'audio': option 'embedding' is for Text, 'audio' is Audio"),
        ("question", {"kind": "lstm", "layers": 0}, "'question': expected layers to be a whole number above 0"),
        ("trace", {"kind": "transformer", "heads": 3}, "'trace': expected width to be a multiple of heads, .* heads=3"),
        ("trace", {"kind": "transformer", "patch": 0}, "'trace': expected patch to be a whole number above 0"),
        ("audio", {"kind": "waveform", "filters": 0}, "'audio': expected filters to be a whole number above 0"),
        ("audio", {"kind": "spectrogram_transformer", "patch": 1.5}, "'audio': expected patch to be a whole number"),
        ("table", {"kind": "mlp", "depth": 0}, "'table': expected depth to be a whole number above 0, received 0"),
    ],
)
def test_refused(feature, choice, message):
    with pytest.raises(InputError, match=message):
        tower(contracts.FEATURES[feature], choice, width=4, name=feature)


def test_a_tower_that_returns_no_tokens():
    mk.towers.register("raw")(lambda x, *, width, name: x)
    try:
        with pytest.raises(
            InputError, match=r"expected tower 'raw' to return Tokens of \(batch, tokens, 4\), received"
        ):
            tower(contracts.FEATURES["image"], "raw", width=4, name="image")
    finally:
        del TOWERS["raw"]


def spectrograms(rows=64):
    return np.random.default_rng(0).normal(size=(rows, 20, 30)).astype("float32")


def hidden_bands(x, y):
    """Which mels and which frames are hidden in each spectrogram; everything else must be as it was."""
    changed = y != x
    mels, frames = changed.all(axis=2), changed.all(axis=1)
    np.testing.assert_array_equal(changed, mels[:, :, None] | frames[:, None, :])
    return mels, frames


def runs(row):
    """Number of contiguous runs of True."""
    return int(np.diff(row.astype(int), prepend=0).clip(min=0).sum())


def test_spec_augment_hides_one_band_along_each_axis():
    x = spectrograms(400)
    y = keras.ops.convert_to_numpy(SpecAugment(frequency=0.25, time=0.4, seed=0)(x, training=True))
    mels, frames = hidden_bands(x, y)
    for bands, widest in ((mels, 5), (frames, 12)):
        assert max(map(runs, bands)) == 1
        assert set(bands.sum(axis=1)) == set(range(widest + 1))
        assert bands.any(axis=0).all(), "a place that no band ever reaches"
    mean = np.broadcast_to(x.mean(axis=(1, 2), keepdims=True), x.shape)
    np.testing.assert_allclose(y[y != x], mean[y != x], atol=1e-6)


def test_spec_augment_bands_of_any_number():
    x = spectrograms()
    y = keras.ops.convert_to_numpy(SpecAugment(frequency=0.2, time=0.2, masks=[0, 3], seed=0)(x, training=True))
    mels, frames = hidden_bands(x, y)
    assert not mels.any()
    assert set(map(runs, frames)) == {1, 2, 3}


def test_spec_augment_draws_anew_in_each_batch_and_is_off_at_inference():
    x, layer = spectrograms(), SpecAugment(seed=1)
    first, second = (keras.ops.convert_to_numpy(layer(x, training=True)) for _ in range(2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(SpecAugment(seed=1)(x, training=True)), first)
    for y in (layer(x), layer(x, training=False)):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(y), x)


def spec_augmented(**options):
    return tower(contracts.FEATURES["audio"], {"kind": "spectrogram", "spec_augment": options}, width=8, name="audio")


def test_spectrogram_with_spec_augment(tmp_path):
    plain, model = contracts.small_tower("spectrogram", "audio"), spec_augmented(frequency=0.3, masks=[2, 1])
    model.set_weights([*plain.get_weights()])
    x = contracts.sample(contracts.FEATURES["audio"])
    np.testing.assert_array_equal(contracts.outputs(model, x)[0], contracts.outputs(plain, x)[0])
    first, second = (keras.ops.convert_to_numpy(model(x, training=True)) for _ in range(2))
    assert not np.array_equal(first, second)
    contracts.round_trip_is_equal(model, x, tmp_path / "tower.keras")
    layer = keras.models.load_model(tmp_path / "tower.keras").get_layer("audio_spec_augment")
    assert (layer.frequency, layer.time, layer.masks, layer.dtype) == (0.3, 0.2, (2, 1), "float32")
    assert not any("spec_augment" in layer.name for layer in plain.layers)
    trained = keras.Sequential([model, keras.layers.Flatten(), keras.layers.Dense(1)])
    trained.compile("sgd", "mse")
    assert np.isfinite(trained.train_on_batch(x, np.zeros((5, 1))))


def test_spec_augment_is_registered_with_keras():
    assert keras.saving.get_registered_object("mmkeras>SpecAugment") is SpecAugment


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freqency": 0.1}, "'audio': unknown option of spec_augment: 'freqency'; did you mean 'frequency'"),
        ({"time": 30}, "SpecAugment: expected time to be from 0 to 1, received 30"),
        ({"frequency": True}, "SpecAugment: expected frequency to be from 0 to 1, received True"),
        ({"masks": 2}, "SpecAugment: expected masks to be two whole numbers from 0, received 2"),
        ({"masks": (1, -1)}, "expected masks to be two whole numbers from 0"),
    ],
)
def test_spec_augment_refused(options, message):
    with pytest.raises(InputError, match=message):
        spec_augmented(**options)


def test_spec_augment_is_a_dict():
    with pytest.raises(InputError, match=r"'audio': expected spec_augment to be a dict of frequency, .*received 0.2"):
        tower(contracts.FEATURES["audio"], {"kind": "spectrogram", "spec_augment": 0.2}, width=8, name="audio")
