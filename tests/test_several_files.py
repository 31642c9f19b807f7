"""Several files of one thing as one input: `columns=["front", "back"]`."""

import io

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras.bundle import examples
from mmkeras.decode import codec_of
from mmkeras.errors import InputError
from mmkeras.serving.arrays import as_arrays
from mmkeras.serving.values import as_columns, load_schema

ROOMS = ["front", "kitchen", "bath"]
TRACES = ["left", "right"]
ROWS = 24


def schema(**options):
    """The price is what the brightest picture says."""
    options = {"optional": True} | options
    rooms = mk.Image(6, 5, 1, columns=ROOMS, **options)
    steps = mk.Series(4, 2, means=[0, 0], std=[1, 1], columns=TRACES)
    return mk.Schema({"house": rooms, "steps": steps}, {"price": mk.Category(["low", "high"])})


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder, random, rows = tmp_path_factory.mktemp("houses"), np.random.default_rng(0), []
    for number in range(4):
        pixels = np.full((6, 5, 1), 20 + 60 * number, np.uint8)
        tf.io.write_file(str(folder / f"{number}.png"), tf.io.encode_png(pixels))
        np.save(folder / f"{number}.npy", np.full((number + 1, 2), number + 1, np.float32))
    (folder / "bad.png").write_bytes(b"no picture")
    for row in range(ROWS):
        there = row % 8 if row else 7  # as bits: none, one, two or all of the rooms
        pictures = [random.integers(0, 2) + 2 * (row % 2) if there >> place & 1 else None for place in range(3)]
        cells = {room: "" if one is None else f"{one}.png" for room, one in zip(ROOMS, pictures, strict=True)}
        sides = {"left": f"{row % 4}.npy", "right": "" if row % 3 else "2.npy"}
        rows.append({**cells, **sides, "price": ("low", "high")[row % 2]})
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    return folder / "table.csv"


@pytest.fixture(scope="module")
def records(table):
    return mk.read(table, schema(), check="decode")


@pytest.fixture(scope="module")
def model(records):
    keras.utils.set_random_seed(0)
    towers = {"house": {"kind": "conv", "filters": 4, "depth": 1}, "steps": {"kind": "conv1d", "depth": 1}}
    return mk.build(records.schema, towers=towers, width=8)


@pytest.fixture(scope="module")
def bundle(model, records, tmp_path_factory):
    return mk.export(model, records.schema, tmp_path_factory.mktemp("served") / "houses", records=records)


def test_schema():
    assert mk.Schema.from_json(schema().to_json()) == schema()
    assert schema().columns("house") == tuple(ROOMS)
    assert schema().model_inputs == {
        "house": ((3, 6, 5, 1), "uint8"),
        "house_there": ((3,), "bool"),
        "house_present": ((), "bool"),
        "steps": ((2, 4, 2), "float32"),
        "steps_length": ((2,), "int32"),
        "steps_there": ((2,), "bool"),
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: mk.Image(4, 4, column=["a"]),
            r"Image: expected column to be a name, received \['a'\] \(several files",
        ),
        (lambda: mk.Text(4, column=["a"]), r"Text: expected column to be a name, received \['a'\]$"),
        (lambda: mk.Category(column=["a"]), "Category: expected column to be a name"),
        (lambda: mk.Video(2, 4, 4, columns="ab"), "Video: expected columns to be a list of strings"),
        (lambda: mk.Series(2, columns=["a"]), "Series: expected columns to be at least 2 names"),
        (lambda: mk.Audio(8, 1.0, columns=["a", "a"]), "Audio: expected distinct columns"),
        (lambda: mk.Image(4, 4, columns=["a", "b"], column="c"), "expected columns without column and shared"),
        (lambda: mk.Image(4, 4, columns=["a", "b"], shared=True), "expected columns without column and shared"),
    ],
)
def test_what_cannot_be_columns(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_cells(records, table):
    assert records.values("house").shape == (ROWS, 3)
    assert records.values("house")[7].tolist()[0].startswith(str(table.parent))
    distinct, number = records.distinct("house")
    assert (sorted(distinct)[0], len(distinct), number.shape) == ("", 5, (ROWS, 3))
    assert records.there("house").tolist() == [row % 8 != 0 or row == 0 for row in range(ROWS)]
    assert "house" in str(records.describe())


def test_bad_files_are_named_by_their_column(table):
    frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    for room in ROOMS + TRACES:
        frame[room] = [str(table.parent / cell) if cell else "" for cell in frame[room]]
    frame.loc[1, "kitchen"], frame.loc[2, "bath"] = str(table.parent / "none.png"), str(table.parent / "bad.png")
    with pytest.raises(InputError, match=r"row 1: 'kitchen': no such file"):
        mk.read(frame, schema())
    with pytest.warns(UserWarning, match="1 values count as missing"):
        records = mk.read(frame, schema(), check="decode", on_bad="missing")
    assert records.ledger[["row", "column"]].to_numpy().tolist() == [[1, "kitchen"], [2, "bath"]]
    assert records.there("house")[1:3].all()
    frame.loc[3, ROOMS] = ""
    with pytest.raises(InputError, match=r"row 0: 'front': expected a value, found nothing \(1 such rows\)"):
        mk.read(frame.loc[[3]], schema(optional=False))


def test_batches(records, tmp_path):
    x, y = next(iter(mk.batches(records, ROWS)))
    there = records.values("house") != ""
    np.testing.assert_array_equal(x["house_there"], there)
    np.testing.assert_array_equal(x["house_present"], there.any(axis=1))
    expected = [[20 + 60 * int(cell[-5]) if cell else 0 for cell in row] for row in records.values("house")]
    np.testing.assert_array_equal(x["house"][:, :, 0, 0, 0], expected)
    np.testing.assert_array_equal(x["steps_length"][:, 0], [row % 4 + 1 for row in range(ROWS)])
    np.testing.assert_array_equal(x["steps_length"][:, 1], np.where(records.values("steps")[:, 1] == "", 0, 3))
    assert list(x) == list(records.schema.model_inputs)
    shards = mk.write_shards(records, tmp_path / "shards", shards=2)
    rows = [(one, label) for one, labels in mk.batches(shards, 8) for label in [labels]]
    again = {key: np.concatenate([one[key] for one, _ in rows]) for key in x}
    order = np.lexsort(again["house"].reshape(ROWS, -1).T), np.lexsort(x["house"].numpy().reshape(ROWS, -1).T)
    for key in ("house", "house_there", "house_present"):
        np.testing.assert_array_equal(again[key][order[0]], x[key].numpy()[order[1]])
    changed, _ = next(iter(mk.batches(records, 8, training=True, augment={"house": {"brightness": 0.3}})))
    assert not changed["house"].numpy()[~changed["house_there"].numpy()].any()
    assert len(y) == ROWS


def test_one_tower_reads_them_all(model, records):
    tower = model.get_layer("house_tower")
    x = next(iter(mk.batches(records, ROWS, targets=False)))
    values, mask = tower([x["house"], x["house_there"]])
    assert (values.shape, mask.shape) == ((ROWS, 3, 8), (ROWS, 3))
    np.testing.assert_array_equal(mask, x["house_there"])
    assert not values.numpy()[~mask.numpy()].any()
    order = [2, 0, 1]
    turned, _ = tower([tf.gather(x["house"], order, axis=1), tf.gather(x["house_there"], order, axis=1)])
    np.testing.assert_allclose(turned, tf.gather(values, order, axis=1), atol=1e-6)
    (single,) = mk.towers.tower(
        mk.Image(6, 5, 1), {"kind": "conv", "filters": 4, "depth": 1}, width=8, name="house"
    ).outputs
    assert single.shape[1:] == (1, 8)
    _, mask = model.get_layer("steps_tower")([x["steps"], x["steps_length"], x["steps_there"]])
    np.testing.assert_array_equal(mask, x["steps_there"])


def test_what_is_not_there_changes_nothing(model, records):
    x = next(iter(mk.batches(records, ROWS, targets=False)))
    there = x["house_there"].numpy()[..., None, None, None]
    dirty = {**x, "house": np.where(there, x["house"], 255).astype("uint8")}
    clean, dirty = (model.predict(one, verbose=0) for one in (x, dirty))
    np.testing.assert_allclose(clean, dirty, atol=1e-6)


def test_it_learns(records):
    keras.utils.set_random_seed(0)
    model = mk.build(records.schema, fusion="attention", width=8)
    model.compile(keras.optimizers.Adam(0.02), **mk.compile_args(records.schema))
    seen = records.take(np.flatnonzero(records.there("house")))
    history = model.fit(mk.batches(seen, 8, training=True), epochs=30, shuffle=False, verbose=0)
    assert history.history["accuracy"][-1] > 0.9
    assert mk.evaluate(model, seen).metrics["accuracy"] > 0.9


def test_served(model, records, bundle):
    serve = tf.saved_model.load(bundle).signatures
    traces = records.schema.inputs["steps"]
    given = {
        "house": np.array(
            [[tf.io.read_file(one).numpy() if one else b"" for one in row] for row in records.values("house")]
        ),
        "steps": np.array(codec_of(traces).sent(traces, records.values("steps")), object),
    }
    answers = serve["serving_default"](**{key: tf.constant(value) for key, value in given.items()})
    assert answers["status"].numpy().tolist() == [0] * ROWS
    expected = model.predict(mk.batches(records, ROWS, targets=False), verbose=0)
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)
    raw = examples.serialized(records.schema, {key: np.asarray(value) for key, value in given.items()})
    again = serve["examples"](inputs=tf.constant(raw))
    np.testing.assert_allclose(again["probabilities"], answers["probabilities"], atol=1e-6)
    broken = {**given, "house": given["house"].copy()}
    broken["house"][1, 2], broken["house"][2] = b"no picture", b""
    answers = serve["serving_default"](**{key: tf.constant(value) for key, value in broken.items()})
    assert answers["house_status"].numpy()[:3].tolist() == [0, 1, 0]


def test_verified(bundle):
    found = mk.verify(bundle, ways=["session"])
    assert found.passed, str(found)


def test_card(bundle):
    card = (bundle / "assets.extra" / "MODEL_CARD.md").read_text()
    assert "3 values (front, kitchen, bath), each of which may be empty, of: a JPEG" in card


def test_retrieval(records):
    two = mk.Schema({"house": schema(optional=False).inputs["house"], "steps": schema().inputs["steps"]}, {})
    rows = mk.read(records.frame[records.there("house")].reset_index(drop=True), two)
    found = mk.retrieve(mk.build(two, align={"kind": "contrastive", "dim": 4}, width=8), rows)
    assert len(found.query("house", find="steps", k=2))
    found.figure("house", "steps", k=2)


def test_a_client_sends_them(records, bundle):
    frame, parts = records.frame.iloc[1:5], load_schema(bundle)
    serve = tf.saved_model.load(bundle).signatures["serving_default"]
    taken = serve.structured_input_signature[1].items()
    inputs = {name: (spec.dtype.name, tuple(spec.shape)) for name, spec in taken}
    columns = as_columns(frame[ROOMS + TRACES], inputs, parts)
    sent = as_arrays(columns, inputs, parts, range(4), False)
    cells = frame[ROOMS].to_numpy()
    assert [[bool(one) for one in row] for row in sent["house"]] == [[bool(cell) for cell in row] for row in cells]
    assert sent["house"][2][0] == tf.io.read_file(cells[2][0]).numpy()
    steps = [[len(np.load(io.BytesIO(one))) if one else 0 for one in row] for row in sent["steps"]]
    assert steps == [[2, 0], [3, 0], [4, 3], [1, 0]]
    given = {name: tf.constant(value.tolist() if value.dtype == object else value) for name, value in sent.items()}
    assert serve(**given)["status"].numpy().tolist() == [0] * 4
