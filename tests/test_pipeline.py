import wave

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras import decode, pipeline
from mmkeras.decode.tokens import split
from mmkeras.errors import InputError
from mmkeras.schema import Category, Image, Schema, Text

COUNTED = Schema(
    inputs={"n": Text(1, [str(n) for n in range(50)])},
    targets={"a": Category([str(n) for n in range(50)]), "even": Category(["no", "yes"])},
)
SEEN = Schema(inputs={"p": Image(2, 2, 1)}, targets={"a": Category(["x", "y"])})


@pytest.fixture(scope="module")
def counted():
    """Row n says n in its one input and its first target."""
    n = np.arange(50)
    return mk.read(pd.DataFrame({"n": n, "a": n, "even": np.where(n % 2, "no", "yes")}), COUNTED)


@pytest.fixture
def pictures(tmp_path):
    """Two grey pictures of 2 x 2, and a file that is none."""
    for level in (10, 20):
        pixels = tf.fill([2, 2, 1], tf.cast(level, tf.uint8))
        (tmp_path / f"{level}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    (tmp_path / "bad.png").write_bytes(b"no picture")
    return tmp_path


def seen(folder, names, **columns):
    return mk.read(pd.DataFrame({"p": [folder / f"{name}.png" for name in names], **columns}), SEEN)


def epoch(dataset):
    """All batches of one epoch: the row numbers of the inputs, then those of the targets, as lists of batches."""
    batches = [(inputs["n"][:, 0] - 2, targets["a"]) for inputs, targets in dataset]
    return [[part.numpy().tolist() for part in batch] for batch in zip(*batches, strict=True)]


def order(dataset):
    return [row for batch in epoch(dataset)[1] for row in batch]


def test_shapes_and_dtypes(keypad_splits):
    data = mk.batches(keypad_splits["val"], 16)
    inputs, target = next(iter(data))
    assert {name: (tuple(value.shape), value.dtype.name) for name, value in inputs.items()} == {
        "image": ((16, 8, 8, 1), "uint8"),
        "question": ((16, 16), "int32"),
        "audio": ((16, 2400), "float32"),
    }
    assert list(inputs) == ["image", "question", "audio"]
    assert (target.shape, target.dtype) == ((16,), "int32")
    given = {name: tuple(spec.shape) for name, spec in data.element_spec[0].items()}
    assert given == {"image": (None, 8, 8, 1), "question": (None, 16), "audio": (None, 2400)}


def test_values_are_those_of_the_files(keypad_splits):
    records = keypad_splits["val"]
    inputs, target = next(iter(mk.batches(records, len(records))))
    schema, last = records.schema, len(records) - 1
    with wave.open(records.values("audio")[last]) as file:
        sound = np.frombuffer(file.readframes(2400), "<i2") / 32768
    np.testing.assert_array_equal(inputs["audio"][last], sound)
    pixels = tf.io.decode_png(tf.io.read_file(records.values("image")[last]))
    np.testing.assert_array_equal(inputs["image"][last], pixels)
    words = [word.decode() for word in split(schema.inputs["question"], records.values("question")[-1:]).to_list()[0]]
    tokens = [schema.inputs["question"].vocabulary.index(word) + 2 for word in words]
    assert inputs["question"][last].numpy().tolist() == tokens + [0] * (16 - len(tokens))
    assert [schema.targets["answer"].classes[number] for number in target] == records.values("answer").tolist()


@pytest.mark.parametrize(("size", "sizes"), [(16, [16, 16, 16, 2]), (25, [25, 25]), (50, [50]), (99, [50])])
@pytest.mark.parametrize("training", [False, True])
def test_every_row_once_in_batches(counted, size, sizes, training):
    data = mk.batches(counted, size, training=training)
    assert data.cardinality() == len(sizes)
    inputs, targets = epoch(data)
    assert [len(batch) for batch in inputs] == sizes
    assert inputs == targets  # they belong together
    assert sorted(row for batch in targets for row in batch) == list(range(50))


def test_order_is_the_table_s_without_training(counted):
    data = mk.batches(counted, 8)
    assert order(data) == order(data) == list(range(50))
    assert order(mk.batches(counted.take([7, 3, 9]), 8)) == [7, 3, 9]


def test_training_order_is_new_in_every_epoch_and_a_matter_of_the_seed(counted):
    def three(**options):
        data = mk.batches(counted, 8, training=True, **options)
        return [order(data) for _ in range(3)]

    first = three()
    assert len({tuple(rows) for rows in [*first, list(range(50))]}) == 4
    assert first == three(seed=0)
    assert not {tuple(rows) for rows in first} & {tuple(rows) for rows in three(seed=1)}


def test_rows_of_a_batch_come_from_the_whole_table(counted):
    assert max(order(mk.batches(counted, 4, training=True))[:8]) > 25


def test_two_targets_are_a_dict(counted):
    _, targets = next(iter(mk.batches(counted, 4)))
    assert {name: value.numpy().tolist() for name, value in targets.items()} == {
        "a": [0, 1, 2, 3],
        "even": [1, 0, 1, 0],
    }
    assert [value.dtype for value in targets.values()] == [tf.int32] * 2


def test_without_targets(pictures):
    records = mk.read(pd.DataFrame({"p": [pictures / "20.png"]}), SEEN, targets=False)
    (inputs,) = mk.batches(records, 4, targets=False)
    assert {name: value.numpy().tolist() for name, value in inputs.items()} == {"p": [[[[20], [20]], [[20], [20]]]]}


def test_targets_of_a_table_that_was_read_without(pictures):
    records = mk.read(pd.DataFrame({"p": [pictures / "20.png"]}), SEEN, targets=False)
    with pytest.raises(InputError, match=r"DataFrame.* 'a'"):
        mk.batches(records, 4)


def test_nothing_to_train_on(pictures):
    records = seen(pictures, [10, 20], a=list("xy")).take([])
    with pytest.raises(InputError, match="expected at least one row of DataFrame to train on, received none"):
        mk.batches(records, 2, training=True)


def test_a_shared_file_is_decoded_once(pictures, monkeypatch):
    records = seen(pictures, [20, 10, 20, 20], a=list("xyxy"))
    column = pipeline.columns(records)["p"]
    assert column.values[:, 0, 0, 0].numpy().tolist() == [20, 10]
    assert column.index.tolist() == [0, 1, 0, 0]
    monkeypatch.setattr(decode, "in_chunks", None)  # from here on nothing is decoded any more
    for _ in range(2):
        (batch,) = mk.batches(records, 4)
        assert batch[0]["p"][:, 1, 1, 0].numpy().tolist() == [20, 10, 20, 20]


def test_more_distinct_values_than_are_decoded_at_a_time(counted, monkeypatch):
    monkeypatch.setattr(decode.chunks, "_chunk", lambda feature: 7)
    assert order(mk.batches(counted.take(range(50)), 50)) == list(range(50))
    inputs, _ = epoch(mk.batches(counted.take(range(49, -1, -1)), 50))
    assert inputs == [list(range(49, -1, -1))]


def test_a_file_that_is_no_picture(pictures):
    message = r"^DataFrame row 1: 'p': expected a picture \(JPEG.*\), cannot decode: '.*bad\.png' \(2 such rows\)$"
    with pytest.raises(InputError, match=message):
        mk.batches(seen(pictures, [10, "bad", 20, "bad"], a=list("xyxy")), 2)
    with pytest.raises(
        InputError, match=r"^DataFrame row 3: 'p': .*bad\.png' \(1 such rows\)$"
    ):  # the table's own number
        mk.batches(seen(pictures, [10, "bad", 20, "bad"], a=list("xyxy")).take([2, 3]), 2)


def test_a_file_that_went_away(pictures):
    records = seen(pictures, [20, 10], a=list("xy"))
    (pictures / "10.png").unlink()
    with pytest.raises(InputError, match=r"^DataFrame row 1: 'p': .*10\.png' \(1 such rows\)$"):
        mk.batches(records, 2)


def test_a_label_that_is_no_class(pictures):
    records = seen(pictures, [10, 20, 10], a=list("xyz"))
    with pytest.raises(
        InputError, match=r"^DataFrame row 2: 'a': expected one of the 2 classes x, y: 'z' \(1 such rows\)$"
    ):
        mk.batches(records, 2)
    assert mk.batches(records, 2, targets=False).cardinality() == 2
    many = mk.read(pd.DataFrame({"n": ["1"], "a": ["51"], "even": ["no"]}), COUNTED)
    with pytest.raises(
        InputError, match=r"one of the 50 classes 0, 1, 2, 3, 4, 5, 6, 7, \.\.\.: '51' \(1 such rows\)$"
    ):
        mk.batches(many, 2)


def test_unfitted_schema(keypad_manifest, keypad_schema):
    records = mk.read(keypad_manifest, keypad_schema)
    with pytest.raises(
        InputError,
        match=r"needs a fitted schema, .* of 'question', 'answer' .*records\.fit\(\)\.schema",
    ):
        mk.batches(records, 2)


@pytest.mark.parametrize("size", [0, -1, 2.0, "8", None, True])
def test_batch_size_that_cannot_be(counted, size):
    with pytest.raises(
        InputError, match=rf"^batches: expected batch_size to be a whole number above 0, received {size!r}$"
    ):
        mk.batches(counted, size)


def test_batch_size_from_numpy_is_a_number(counted):
    assert mk.batches(counted, np.int64(25)).cardinality() == 2


@pytest.mark.parametrize("what", ["Splits", "DataFrame"])
def test_what_is_no_records(keypad_splits, what):
    with pytest.raises(InputError, match=rf"expected Records \(from mk\.read\).*, received {what}"):
        mk.batches({"Splits": keypad_splits, "DataFrame": keypad_splits["val"].frame}[what], 2)


def test_augmentation_is_new_in_every_epoch_and_a_matter_of_the_seed(pictures):
    records = seen(pictures, [10, 20] * 4, a=list("xy") * 4)

    def three(**options):
        data = mk.batches(records, 4, training=True, augment={"p": {"brightness": 0.9}}, **options)
        return [np.concatenate([inputs["p"] for inputs, _ in data]).tolist() for _ in range(3)]

    first, again, other = three(), three(seed=0), three(seed=1)
    assert first == again
    assert first[0] != first[1] != first[2] != other[2]


def test_augmentation_changes_what_it_is_asked_to_and_nothing_else(pictures):
    records = seen(pictures, [10, 20] * 4, a=list("xy") * 4)
    plain = list(mk.batches(records, 8, training=True))
    changed = list(mk.batches(records, 8, training=True, augment={"p": {"brightness": 0.9}}))
    assert (plain[0][1].numpy() == changed[0][1].numpy()).all()
    assert (plain[0][0]["p"].numpy() != changed[0][0]["p"].numpy()).any()
    (alone,) = mk.batches(records, 8, training=True, targets=False, augment={"p": {"flip": True}})
    assert alone["p"].shape == (8, 2, 2, 1)
    with pytest.raises(InputError, match="expected augment with training=True only"):
        mk.batches(records, 8, augment={"p": {"flip": True}})


def test_drop_remainder_leaves_whole_batches(counted):
    rows = len(counted)
    size = rows - 1
    for training in (False, True):
        data = mk.batches(counted, size, training=training, drop_remainder=True)
        assert data.cardinality() == len(list(data)) == 1
        assert {len(values) for values in next(iter(data))[0].values()} == {size}
    with pytest.raises(
        InputError, match=f"drop_remainder: expected at least batch_size={rows + 1} rows, received {rows}"
    ):
        mk.batches(counted, rows + 1, drop_remainder=True)
