import sys

import keras
import numpy as np
import pandas as pd
import pytest
from matplotlib.legend import Legend
from scipy.sparse import csr_array
from sklearn.metrics import average_precision_score

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.retrieval import measures, negative_pairs, retrieve
from mmkeras.retrieval.figures import DRAWERS, CellDrawer, Drawer
from mmkeras.retrieval.neighbours import approximate, exact

WORDS = {"red": 0.0, "green": 60.0, "blue": 180.0, "rot": 5.0, "gruen": 62.0, "blau": 170.0}  # degrees on the circle
FRAME = pd.DataFrame(
    {
        "en": ["red", "green", "blue", "red", "green"],
        "de": ["rot", "gruen", "blau", "rot", ""],
        "warm": ["yes", "no", "no", "yes", ""],
        "tags": ["a|b", "b", "c", "a", "c"],
    }
)
SCHEMA = mk.Schema(
    {"en": mk.Text(1, tuple(WORDS)), "de": mk.Text(1, tuple(WORDS), optional=True)},
    {"warm": mk.Category(["no", "yes"], optional=True), "tags": mk.Labels(["a", "b", "c"])},
)


def word_encoder(name):
    """Words become their directions on the circle, of any length."""
    angles = np.deg2rad([0.0, 0.0, *WORDS.values()])
    table = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.arange(1, len(angles) + 1)[:, None]
    embedding = keras.layers.Embedding(len(angles), 2, name=f"{name}_directions")
    x = keras.Input((1,), dtype="int32", name=name)
    model = keras.Model(x, keras.layers.Flatten()(embedding(x)))
    embedding.set_weights([table])
    return model


@pytest.fixture(scope="module")
def words():
    return mk.read(FRAME, SCHEMA)


@pytest.fixture(scope="module")
def space(words):
    return retrieve({name: word_encoder(name) for name in ("en", "de")}, words)


def test_a_value_that_rows_share_is_one_item(space):
    assert {name: len(vectors) for name, vectors in space.vectors.items()} == {"en": 3, "de": 3}
    assert space.items["en"].of_row.tolist() == [0, 1, 2, 0, 1]
    assert space.items["de"].of_row.tolist() == [0, 1, 2, 0, -1]  # a missing value is none
    assert space.items["en"].first.tolist() == [0, 1, 2]
    np.testing.assert_allclose(np.linalg.norm(space.vectors["en"], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(space.vectors["en"][1], [0.5, 3**0.5 / 2], atol=1e-6)
    assert repr(space) == "<Retrieval DataFrame: items: 3 of 'en', 3 of 'de'>"


def test_every_item_is_embedded_once(words):
    class Counting(keras.layers.Layer):
        rows = 0

        def call(self, x):
            import tensorflow as tf

            def count(x):
                Counting.rows += len(x)
                return x

            return tf.ensure_shape(tf.numpy_function(count, [x], tf.int32), (None, 1))

    x = keras.Input((1,), dtype="int32", name="en")
    table = keras.layers.Embedding(8, 2)(Counting()(x))
    Counting.rows = 0
    retrieve({"en": keras.Model(x, keras.layers.Flatten()(table))}, words, batch_size=2)
    assert Counting.rows == 3


def test_query_by_hand(space):
    found = space.query("en", "de", k=2)
    assert list(found.columns) == ["query", "rank", "row", "value", "similarity"]
    assert found["query"].tolist() == [0, 0, 1, 1, 2, 2]
    assert found["rank"].tolist() == [1, 2] * 3
    assert found["value"].tolist() == ["rot", "gruen", "gruen", "rot", "blau", "gruen"]
    assert found["row"].tolist() == [0, 1, 1, 0, 2, 1]
    degrees = [5, 62, 2, 55, 10, 118]
    np.testing.assert_allclose(found["similarity"], np.cos(np.deg2rad(degrees)), atol=1e-6)


def test_query_leaves_itself_out(space):
    found = space.query("en", "en", k=10)
    assert found["value"].tolist() == ["green", "blue", "red", "blue", "green", "red"]


def test_query_by_other_records_and_by_raw_values(space, words):
    other = space.query("en", "de", words.take([4, 1, 2]), k=1)
    assert other["query"].tolist() == [4, 2]  # rows 4 and 1 hold the same word
    assert other["value"].tolist() == ["gruen", "blau"]
    raw = space.query({"de": ["blau", "rot"]}, find="de", k=1)  # the index holds them, and they may be found
    assert raw[["query", "value"]].values.tolist() == [[0, "blau"], [1, "rot"]]
    np.testing.assert_allclose(raw["similarity"], 1, atol=1e-6)


def test_equally_similar_items_come_in_the_order_of_the_table():
    frame = pd.DataFrame({"en": ["red", "green", "rot", "blue"]})
    schema = mk.Schema({"en": SCHEMA.inputs["en"]}, {})
    x = keras.Input((1,), dtype="int32", name="en")
    same = keras.Model(x, keras.layers.Flatten()(keras.layers.Embedding(8, 2, "ones")(x)))
    found = retrieve({"en": same}, mk.read(frame, schema)).query("en", "en", k=2)
    assert found["row"].tolist() == [1, 2, 0, 2, 0, 1, 0, 1]


def one_hot(labels):
    return csr_array(np.eye(max(labels) + 1)[labels])


def test_scores_by_hand():
    """Items at 0, 10, ... 50 degrees; right are the second and the fifth for one query, the first for the other."""
    angles = np.deg2rad(np.arange(0, 60, 10))
    items = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    given = one_hot([1, 0, 2, 2, 0, 2])
    found = measures.per_query(items[[0, 5]], items, one_hot([0, 1, 2])[:2], given, [1, 2, 5, 10])
    assert found["R@1"].tolist() == [0, 0]
    assert found["R@2"].tolist() == [1, 0]
    assert found["R@5"].tolist() == [1, 0]
    assert found["precision@2"].tolist() == [0.5, 0]
    assert found["precision@5"].tolist() == [0.4, 0]
    np.testing.assert_allclose(found["precision@10"], [2 / 6, 1 / 6])  # there are no more than six
    assert found["median rank"].tolist() == [2, 6]
    np.testing.assert_allclose(found["mAP"], [(1 / 2 + 2 / 5) / 2, 1 / 6])
    table = measures.summary(found, seed=0)
    assert table.loc["R@2", "score"] == 0.5
    assert table.loc["median rank", "score"] == 4
    assert table.loc["R@1", ["low", "high"]].tolist() == [0, 0]


@pytest.mark.parametrize("own", [False, True])
def test_average_precision_is_that_of_scikit_learn(monkeypatch, own):
    random = np.random.default_rng(0)
    items = random.normal(size=(40, 5)).astype(np.float32)
    items /= np.linalg.norm(items, axis=1, keepdims=True)
    labels = random.integers(4, size=40)
    labels[7] = 4  # by itself, nothing else is right for it
    monkeypatch.setattr(measures, "BLOCK", 3 * 40)  # three queries at a time
    found = measures.per_query(items, items, one_hot(labels), one_hot(labels), [1], own=own)
    expected = []
    for query in range(40):
        kept = (np.arange(40) != query) | (not own)
        right = labels[kept] == labels[query]
        if right.any():
            expected.append(average_precision_score(right, items[kept] @ items[query]))
    assert len(expected) == 39 + (not own)
    np.testing.assert_allclose(found["mAP"], expected, atol=1e-6)


def test_a_space_of_one_point_scores_worst():
    items = np.tile(np.float32([[0.6, 0.8]]), (6, 1))
    found = measures.per_query(items, items, one_hot(range(6)), one_hot(range(6)), [1, 5])
    assert found["median rank"].tolist() == [6] * 6
    assert not found["R@5"].any()


def test_scores_of_rows_that_belong_together(space):
    found = space.scores("en", "de", k=(1, 2))
    assert found.loc["R@1", "score"] == 1
    assert found.loc["mAP", "score"] == 1
    assert found.loc["precision@2", "score"] == 0.5
    assert found["queries"].tolist() == [3] * len(found)
    assert found["items"].tolist() == [3] * len(found)
    assert list(found.index) == ["R@1", "R@2", "precision@1", "precision@2", "median rank", "mAP"]


def test_scores_of_what_has_a_value_in_common(space):
    """ "warm" of the items: en yes, no (the empty cell counts for nothing), no; de yes, no, no."""
    found = space.scores("en", "de", "warm", k=2)
    np.testing.assert_allclose(found.loc["R@2", "score"], 1)
    np.testing.assert_allclose(found.loc["precision@2", "score"], (1 / 2 + 1 / 2 + 1) / 3)
    np.testing.assert_allclose(found.loc["mAP", "score"], (1 + (1 + 2 / 3) / 2 + 1) / 3)
    itself = space.scores("en", "en", "warm", k=1)
    assert itself["queries"].iloc[0] == 2  # nothing else is warm
    assert itself.loc["R@1", "score"] == 0.5  # green is nearer to red than to blue


def test_scores_by_labels_of_which_one_in_common_suffices(space):
    """Tags of the items of en: a b, b c, c; of de: a b, b, c."""
    found = space.scores("en", "de", "tags", k=2)
    np.testing.assert_allclose(found.loc["precision@2", "score"], (1 + 1 + 1 / 2) / 3)


def test_the_interval_is_that_of_the_queries():
    hits = pd.DataFrame({"R@1": np.arange(400) % 2, "median rank": 1.0})
    table = measures.summary(hits.astype(float), seed=1)
    error = 1.96 * (0.25 / 400) ** 0.5
    np.testing.assert_allclose(table.loc["R@1", ["low", "high"]], [0.5 - error, 0.5 + error], atol=0.01)


def test_approximate_neighbours_are_the_exact_ones():
    pytest.importorskip("faiss")
    random = np.random.default_rng(0)
    vectors = random.normal(size=(300, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = exact(vectors)(vectors, 10), approximate(vectors)(vectors, 10)
    np.testing.assert_array_equal(np.sort(first), np.sort(second))
    np.testing.assert_array_equal(np.sort(approximate(vectors[:4])(vectors[:2], 4)), [[0, 1, 2, 3]] * 2)


def test_approximate_neighbours_need_faiss(monkeypatch, words):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(InputError, match=r'needs faiss, which is not installed: pip install "mmkeras\[retrieval\]"'):
        retrieve({"en": word_encoder("en")}, words, neighbours="approximate")


def test_a_model_of_a_shared_space(pairs):
    records = mk.read(pairs, mk.Schema(PAIR.inputs, {})).fit()
    towers = {"left": "bag", "right": "bag"}
    keras.utils.set_random_seed(0)  # of a narrow bag some first weights give zeros for a row
    model = mk.build(records.schema, towers=towers, width=32, align={"kind": "mse", "dim": 4})
    space = retrieve(model, records)
    assert len(space.vectors["right"]) == 20
    outputs = model.predict(mk.batches(records, 64, targets=False), verbose=0)
    for name in records.schema.inputs:
        np.testing.assert_allclose(space.vectors[name][space.items[name].of_row], outputs[name], atol=1e-5)


def cells(figure):
    return [[text.get_text() for text in axes.texts] for axes in figure.axes]


def test_contact_sheet(space):
    figure = space.figure("en", "de", k=2, relevant="warm")
    assert cells(figure)[:3] == [["green", "no"], ["gruen", "✓ no  1.00"], ["rot", "✕ yes  0.57"]]
    assert [text.get_text() for text in figure.texts] == ["en", "most similar: de"]
    assert len(figure.axes) == 2 * 3
    plain = space.figure("en", "de", rows=[2, 2, 4], k=1)
    assert cells(plain) == [["blue", ""], ["blau", "✓ 0.98"]] * 2 + [["green", ""], ["gruen", "✓ 1.00"]]
    assert cells(space.figure("en", "en", rows=[0], k=1)) == [["red", ""], ["green", "0.50"]]


def test_frames_are_closed_whatever_the_style(space):
    import matplotlib.pyplot as plt

    with plt.rc_context({"axes.spines.top": False, "axes.spines.right": False}):
        figure = space.figure("en", "de", k=1, relevant="warm")
    assert all(spine.get_visible() for axes in figure.axes for spine in axes.spines.values())


def test_map(space):
    figure = space.map(color="warm")
    assert [len(points.get_offsets()) for points in figure.axes[0].collections] == [3, 3]
    modalities, colors = figure.axes[1].findobj(Legend)
    assert [text.get_text() for text in modalities.get_texts()] == ["en", "de"]
    assert [text.get_text() for text in colors.get_texts()] == ["no", "yes"]
    assert colors.get_title().get_text() == "warm"
    several = space.map("en", color="tags", method="tsne", limit=3).axes
    assert [text.get_text() for text in several[1].findobj(Legend)[1].get_texts()] == ["c", "several values"]
    assert len(several[0].collections) == 1


def test_map_of_many_values():
    """The twelve most frequent values have colours, the others are grey."""
    frame = pd.DataFrame({"en": [f"w{i}" for i in range(40)], "kind": [f"{max(i, 13)}" for i in range(40)]})
    frame.loc[:13, "kind"] = "9"
    records = mk.read(frame, mk.Schema({"en": mk.Text(1)}, {})).fit()
    x = keras.Input((1,), dtype="int32", name="en")
    vectors = keras.Model(x, keras.layers.Flatten()(keras.layers.Embedding(42, 3)(x)))
    legend = retrieve({"en": vectors}, records).map(color="kind").axes[1].findobj(Legend)[1]
    assert [text.get_text() for text in legend.get_texts()] == ["9", *(str(i) for i in range(14, 25)), "others"]


@pytest.fixture(scope="module")
def films_and_traces(tmp_path_factory):
    """Four rows of a film, a trace and two numbers, one trace of them shorter; and their `Retrieval`."""
    folder, random = tmp_path_factory.mktemp("films"), np.random.default_rng(0)
    for row in range(4):
        np.save(folder / f"film{row}.npy", random.integers(256, size=(5, 6, 6, 3), dtype=np.uint8))
        np.save(folder / f"trace{row}.npy", random.normal(size=(3 if row == 1 else 9, 2)))
    table = pd.DataFrame({"film": [f"film{i}.npy" for i in range(4)], "trace": [f"trace{i}.npy" for i in range(4)]})
    table.assign(height=["1", "2", "", "4"], kind=["a", "b", "a", "b"]).to_csv(folder / "manifest.csv", index=False)
    inputs = {"film": mk.Video(4, 6, 6), "trace": mk.Series(9, 2), "sizes": mk.Tabular(["height"], ["kind"])}
    records = mk.read(folder / "manifest.csv", mk.Schema(inputs, {})).fit()
    encoders = {}
    for name, feature in records.schema.inputs.items():
        x = keras.Input(feature.shape, dtype=feature.dtype, name=name)
        vector = keras.layers.Dense(3)(keras.layers.Flatten()(x))
        length = keras.Input((), dtype="int32", name=f"{name}_length")
        if name == "trace":  # the third component is the length
            vector = keras.ops.concatenate([0 * vector[:, :2], keras.ops.cast(length, "float32")[:, None]], axis=1) + 1
        encoders[name] = keras.Model([x, length] if name == "trace" else x, vector)
    return retrieve(encoders, records)


def test_lengths_reach_the_encoder(films_and_traces):
    lengths = films_and_traces.vectors["trace"][:, 2] / films_and_traces.vectors["trace"][:, 0] - 1
    np.testing.assert_allclose(lengths, [9, 3, 9, 9], rtol=1e-5)


def test_contact_sheet_of_every_kind(films_and_traces):
    space = films_and_traces
    figure = space.figure("film", "trace", rows=[0, 1], k=4)
    film, *traces = figure.axes[:5]
    assert film.images[0].get_array().shape == (6, 18, 3)  # three frames side by side
    row = space.query("film", "trace", k=4)["row"].tolist().index(1)
    assert [len(axes.lines) for axes in traces] == [2] * 4
    assert len(traces[row].lines[0].get_xdata()) == 3  # without its padding
    assert cells(space.figure("sizes", "film", rows=[1, 2], k=1))[::2] == [["2, b", ""], [", a", ""]]


def test_a_drawer_of_ones_own(films_and_traces, monkeypatch):
    class Points(Drawer):
        size = (0.5, 0.5)

        def draw(self, axes, value, feature):
            axes.scatter(value[:, 0], value[:, 1])

    monkeypatch.delitem(DRAWERS, mk.Series)
    with pytest.raises(InputError, match="unknown kind 'Series': no drawer is known for it; expected one of Audio, Im"):
        films_and_traces.figure("film", "trace")
    monkeypatch.setitem(DRAWERS, mk.Series, Points())
    figure = films_and_traces.figure("film", "trace", rows=[1], k=4)
    points = sorted(len(axes.collections[0].get_offsets()) for axes in figure.axes[1:])
    assert points == [3, 9, 9, 9]  # without padding
    widths = [axes.get_position().width for axes in figure.axes[:2]]
    assert widths[1] / widths[0] == pytest.approx(0.5 / 2.4)
    monkeypatch.setitem(DRAWERS, mk.Series, CellDrawer())
    written = films_and_traces.figure("film", "trace", rows=[1], k=1).axes[1].texts[0].get_text()
    assert written.replace("\n", "").endswith(".npy")


def test_contact_sheet_of_recordings(keypad_splits):
    data = keypad_splits["test"].take(np.arange(6))
    records = mk.Records(mk.Schema({"audio": data.schema.inputs["audio"]}, {}), data.frame, data.name)
    x = keras.Input((2400,), name="audio")
    space = retrieve({"audio": keras.Model(x, keras.layers.Dense(3)(x))}, records)
    file = data.frame["audio"].iloc[2]
    assert space.query({"audio": [file]}, "audio", k=1)["value"].tolist() == [file]
    figure = space.figure("audio", "audio", k=2)
    picture = figure.axes[0].images[0]
    assert picture.get_array().shape[0] == 48  # mels
    assert picture.get_clim()[0] == pytest.approx(picture.get_array().max() - 60)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.query("fr", "de"), "query: by: unknown input 'fr'"),
        (lambda s: s.query("en", "dee"), "query: find: unknown input 'dee'; did you mean 'de'"),
        (lambda s: s.query("en", "de", k=0), "expected k to be a whole number above 0, received 0"),
        (lambda s: s.query({"en": "red"}, "de"), "expected a list of at least one value of 'en', received 'red'"),
        (lambda s: s.query({"en": ["red"], "de": ["rot"]}, "de"), "expected a dict of one input and no records"),
        (lambda s: s.query({"de": [""]}, "en"), "row 0: 'de': expected a value, found nothing"),
        (lambda s: s.scores("en", "en"), "expected relevant"),
        (lambda s: s.scores("en", "de", "warmth"), "scores: unknown target or column 'warmth'; did you mean 'warm'"),
        (lambda s: s.scores("en", "de", k=(1, 1)), "expected k to be different whole numbers"),
        (lambda s: s.scores("en", "de", k=(0, 1)), "expected k to be a whole number above 0"),
        (lambda s: s.scores("en", "de", k=1.5), "scores: expected k to be a whole number above 0, received 1.5"),
        (lambda s: s.scores("en", "de", seed=-1), "scores: expected seed to be a whole number from 0, received -1"),
        (lambda s: s.query(["en"], "de"), r"query: by: unknown input \['en'\]"),
        (lambda s: s.map(color="warm", seed=1.5), "map: expected seed to be a whole number from 0, received 1.5"),
        (lambda s: s.figure("en", "de", rows=[7]), "expected rows of DataFrame, received 7"),
        (lambda s: s.figure("de", "en", rows=[0, 4]), "row 4: 'de' is missing"),
        (lambda s: s.figure("en", "de", relevant="cold"), "unknown target or column 'cold'"),
        (lambda s: s.map(color="warm", method="umap"), "map: unknown method 'umap'"),
        (
            lambda s: s.map(["en"], color="warm", limit=2),
            r"at least 3 items in a space of 2 or more, received \(2, 2\)",
        ),
        (lambda s: s.map(["fr"], color="warm"), "map: unknown input 'fr'"),
    ],
)
def test_wrong_questions_are_refused(space, call, message):
    with pytest.raises(InputError, match=message):
        call(space)


def narrow(width, activation=None):
    x = keras.Input((1,), dtype="int32", name="en")
    return keras.Model(x, keras.layers.Dense(width, activation, kernel_initializer="zeros")(x))


@pytest.mark.parametrize(
    ("encoders", "options", "message"),
    [
        ({"en": 1}, {}, "encoder of 'en': expected a keras.Model"),
        ({"en": narrow(2)}, {}, "expected finite vectors other than zeros"),
        ({"en": narrow(2, "exponential"), "de": narrow(3, "exponential")}, {}, "into one space, received .*'de': 3"),
        ({"en": keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])}, {}, "expected the inputs"),
        ({"fr": narrow(2)}, {}, "retrieve: unknown input 'fr'"),
        ({"en": narrow(2)}, {"inputs": ["de"]}, "retrieve: unknown input 'de'; Known: en"),
        ({"en": narrow(2)}, {"inputs": []}, "expected inputs to be a list of at least one name"),
        ({"en": narrow(2)}, {"inputs": 1}, "expected inputs to be a list of at least one name, received 1"),
        ({"en": narrow(2)}, {"neighbours": "exactly"}, "unknown value of neighbours 'exactly'; did you mean 'exact'"),
        ({"en": narrow(2)}, {"batch_size": 0}, "expected batch_size to be a whole number above 0"),
        (narrow(2), {}, "without a shared space"),
    ],
)
def test_wrong_encoders_are_refused(words, encoders, options, message):
    with pytest.raises(InputError, match=message):
        retrieve(encoders, words, **options)


def test_an_input_that_no_row_has(words):
    with pytest.raises(InputError, match="DataFrame: 'de': expected at least one row that has it, found none"):
        retrieve({"de": word_encoder("de")}, words.take([4]))


@pytest.fixture(scope="module")
def pairs():
    random = np.random.default_rng(0)
    count = 60
    frame = pd.DataFrame({"left": [f"w{i}" for i in range(count)], "right": [f"v{i % 20}" for i in range(count)]})
    return frame.assign(color=random.choice(["red", "green", "blue"], count), mood=["good"] * count)


PAIR = mk.Schema({"left": mk.Text(1), "right": mk.Text(1)}, {"color": mk.Category()})


def test_negative_pairs_change_one_input_and_no_more(pairs):
    records = mk.read(pairs, PAIR, on_bad="drop", bad_limit=0.3)
    made = negative_pairs(records, "right", differing="color", copies=2, seed=3)
    assert made.schema == mk.Schema(PAIR.inputs, {"match": mk.Category(["no", "yes"])})
    assert (made.on_bad, made.bad_limit) == ("drop", 0.3)
    assert made.frame["match"].tolist() == ["yes"] * 60 + ["no"] * 120
    pd.testing.assert_frame_equal(made.frame[:60].droplevel(0).drop(columns="match"), pairs)
    kinds = pairs.groupby("right")["color"].agg(set)
    for start, name in ((60, "DataFrame, negative_pairs 1"), (120, "DataFrame, negative_pairs 2")):
        wrong = made.frame[start : start + 60]
        assert set(wrong.index.get_level_values(0)) == {name}
        wrong = wrong.droplevel(0)
        same = ["left", "color", "mood"]
        pd.testing.assert_frame_equal(wrong[same], pairs[same])
        assert (wrong["right"] != pairs["right"]).all()
        for value, color in zip(wrong["right"], wrong["color"], strict=True):
            assert kinds[value] - {color}
    assert made.frame["right"].tolist()[60:120] != made.frame["right"].tolist()[120:]
    pd.testing.assert_frame_equal(
        negative_pairs(records, "right", differing="color", copies=2, seed=3).frame, made.frame
    )


@pytest.mark.parametrize("fitted", [True, False])
def test_negative_pairs_by_labels_have_none_in_common(fitted):
    frame = pd.DataFrame(
        {"left": list("abcdef"), "right": list("uvwxyz"), "tags": ["x|y", "y|x", "x", "z", "z|w", "w"]}
    )
    given = mk.Schema({"left": mk.Text(1), "right": mk.Text(1)}, {"tags": mk.Labels()})
    records = mk.read(frame, given)
    records = records.fit() if fitted else records
    tags = {row["right"]: set(row["tags"].split("|")) for row in frame.to_dict("records")}
    made = negative_pairs(records, "right", differing="tags", copies=20).frame[6:]
    assert len(made) == 120
    assert not any(tags[row["right"]] & set(row["tags"].split("|")) for row in made.to_dict("records"))


def test_negative_pairs_never_make_a_row_of_the_table():
    """Each left word stands beside two of three right ones, so one is left to choose."""
    frame = pd.DataFrame({"left": ["a", "a", "b", "b", "c", "c"], "right": ["x", "y", "y", "z", "x", "z"]})
    made = negative_pairs(mk.read(frame, mk.Schema(PAIR.inputs, {})), "right", copies=5)
    wrong = made.frame[6:]
    assert set(zip(wrong["left"], wrong["right"], strict=True)) == {("a", "z"), ("b", "x"), ("c", "y")}


def test_negative_pairs_leave_missing_values_out_and_keep_the_ledger(words):
    records = mk.read(FRAME.assign(warm=["yes", "no", "no", "yes", "no"]), SCHEMA, on_bad="drop")
    records.entries.add(9, "en", "x", "no word")
    made = negative_pairs(records, "de")
    assert len(made) == 8
    assert made.ledger.values.tolist() == [[("DataFrame", 9), "en", "x", "no word"]]
    assert len(records.ledger) == 1


def test_negative_pairs_train_a_model_as_any_records_do(pairs):
    data = mk.read(pairs.assign(split=["train"] * 40 + ["test"] * 20), PAIR).split("split")
    train = negative_pairs(data["train"], "right").fit()
    model = mk.build(train.schema, width=8)
    model.compile("adam", **mk.compile_args(train.schema))
    assert model.output.shape == (None, 2)
    test = mk.Records(train.schema, negative_pairs(data["test"], "right").frame, "test")
    assert "accuracy" in mk.evaluate(model, test, permutations=1).metrics


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rigth", {}, "negative_pairs: unknown input 'rigth'; did you mean 'right'"),
        ("right", {"target": "mood"}, "DataFrame has a column 'mood' already"),
        ("right", {"differing": "colour"}, "differing: unknown target or column 'colour'; did you mean 'color'"),
        ("right", {"differing": "mood"}, "DataFrame row 0: 'right': expected another row whose value does not belong"),
        ("right", {"copies": 0}, "expected copies to be a whole number above 0, received 0"),
        ("right", {"seed": -1}, "expected seed to be a whole number from 0, received -1"),
        ("right", {"target": "a match"}, "expected names of letters"),
    ],
)
def test_negative_pairs_that_cannot_be(pairs, name, options, message):
    with pytest.raises(InputError, match=message):
        negative_pairs(mk.read(pairs, PAIR), name, **options)


def test_negative_pairs_need_two_inputs_and_filled_cells(words):
    alone = mk.read(FRAME, mk.Schema({"en": mk.Text(1)}, {}))
    with pytest.raises(InputError, match="expected at least two inputs, received 'en' alone"):
        negative_pairs(alone, "en")
    with pytest.raises(InputError, match="DataFrame row 4: 'warm': expected a value for differing, found nothing"):
        negative_pairs(words, "en", differing="warm")
    with pytest.raises(InputError, match="expected Records"):
        negative_pairs(FRAME, "en")
