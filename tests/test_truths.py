"""Truths as columns: files as targets, ragged and large ones, kinds of the user's own."""

import gc
from dataclasses import dataclass

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras import pipeline
from mmkeras.decode import CODECS, FileCodec
from mmkeras.errors import InputError
from mmkeras.pipeline import decoded
from mmkeras.targets import TARGETS, Target

SIZE = 8


@dataclass(frozen=True)
class PngMask(Target):
    """A mask in a PNG file; `(batch, 8, 8)` uint8."""

    optional: bool = False
    column: str | None = None
    dtype = "uint8"
    files = True

    @property
    def truth(self):
        return {"": ((SIZE, SIZE), "uint8")}


class PngMaskCodec(FileCodec):
    format = "a mask (PNG of 8 x 8)"

    def decode_bytes(self, feature, raw):
        return (tf.ensure_shape(tf.io.decode_png(raw, channels=1)[:, :, 0], (SIZE, SIZE)),)


@dataclass(frozen=True)
class Numbers(Target):
    """At most `most` whole numbers, "3 1 4"; `(batch, most)` int32, zeros behind them, and how many they are."""

    most: int = 4
    optional: bool = False
    column: str | None = None
    dtype = "int32"
    wrong = False

    @property
    def truth(self):
        return {"": ((self.most,), "int32"), "_length": ((), "int32")}

    def encode(self, cells):
        CALLS.append(len(cells))
        values, length = np.zeros((len(cells), self.most), np.int32), np.zeros(len(cells), np.int32)
        good = np.array([bool(cell) and cell.replace(" ", "").isdigit() for cell in cells])
        for row in np.flatnonzero(good):
            numbers = [int(number) for number in cells[row].split()]
            values[row, : len(numbers)], length[row] = numbers, len(numbers)
        return (values if self.wrong else {"": values, "_length": length}), good


CALLS = []


@dataclass(frozen=True)
class Size(Target):
    """One of three sizes, whose classes can have weights."""

    classes: tuple[str, ...] = ("s", "m", "l")
    optional: bool = False
    column: str | None = None
    dtype = "int32"
    class_weights = True

    def encode(self, cells):
        found = np.array([self.classes.index(cell) if cell in self.classes else -1 for cell in cells], np.int32)
        return np.maximum(found, 0), found >= 0


@pytest.fixture(scope="module", autouse=True)
def registered():
    """The kinds of this module, known as long as its tests run."""
    kinds = (PngMask, Numbers, Size)
    for kind in kinds:
        mk.targets.register(kind.__name__)(kind)
    mk.decode.register(PngMask)(PngMaskCodec)
    yield
    for kind in kinds:
        del TARGETS[kind.__name__]
    del CODECS[PngMask]


def mask(number):
    """Mask n is n + 1 left of and on column n, and 0 elsewhere."""
    return np.where(np.arange(SIZE) <= number % SIZE, np.uint8(number + 1), np.uint8(0))[None].repeat(SIZE, axis=0)


@pytest.fixture
def files(tmp_path):
    """Pictures 0 to 9, grey of their number; masks 0 to 9."""
    for number in range(10):
        picture = np.full((SIZE, SIZE, 1), number, np.uint8)
        (tmp_path / f"{number}.png").write_bytes(tf.io.encode_png(picture).numpy())
        (tmp_path / f"m{number}.png").write_bytes(tf.io.encode_png(mask(number)[:, :, None]).numpy())
    return tmp_path


def schema(**options):
    return mk.Schema({"p": mk.Image(SIZE, SIZE, 1, shared=True)}, {"m": PngMask(**options)})


def table(folder, numbers):
    """Rows of picture n and mask n."""
    return pd.DataFrame({"p": [folder / f"{n}.png" for n in numbers], "m": [folder / f"m{n}.png" for n in numbers]})


def pairs(data):
    """The number of each row's picture, in the order of the batches; its mask has to be that of the picture."""
    found = []
    for x, y, *_ in data:
        for number, truth in zip(x["p"].numpy()[:, 0, 0, 0].tolist(), y.numpy(), strict=True):
            np.testing.assert_array_equal(truth, mask(number))
            found.append(number)
    return found


NUMBERS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]


@pytest.mark.parametrize("memory", [1.0, 0])
def test_masks_go_with_their_rows(files, tmp_path, memory):
    records = mk.read(table(files, NUMBERS), schema(), memory=memory, cache=tmp_path)
    data = mk.batches(records, 4)
    assert data.element_spec[1] == tf.TensorSpec((None, SIZE, SIZE), tf.uint8)
    assert pairs(data) == NUMBERS
    shuffled = mk.batches(records, 4, training=True)
    assert sorted(pairs(shuffled)) == sorted(NUMBERS) != pairs(shuffled)
    kept = pipeline.truths(records)["m"]
    assert isinstance(kept.values, np.memmap) is (memory == 0)
    assert len(kept.values) == len(set(NUMBERS))  # each distinct file once
    np.testing.assert_array_equal(pipeline.labels(records)["m"], [mask(number) for number in NUMBERS])


def test_masks_are_mixed_and_grouped(files):
    records = mk.read(table(files, NUMBERS).assign(source=list("abbbbbbbba")), schema())
    mixed = mk.batches(records, 4, training=True, mix={"source": {"a": 1, "b": 1}})
    assert set(pairs(mixed)) == set(NUMBERS)
    for (index, pixels), truth in mk.batches(records, 4, training=True, group_by="p"):
        numbers = tf.gather(pixels, index).numpy()[:, 0, 0, 0]
        np.testing.assert_array_equal(truth, [mask(number) for number in numbers])


def test_an_optional_mask_that_is_missing_is_zero_and_weighs_nothing(files):
    frame = table(files, NUMBERS)
    frame.loc[[0, 4], "m"] = ""
    records = mk.read(frame, schema(optional=True))
    ((_, truth, weights),) = mk.batches(records, len(NUMBERS))
    there = np.isin(np.arange(len(NUMBERS)), [0, 4], invert=True)
    np.testing.assert_array_equal(weights, there.astype(np.float32))
    expected = [mask(number) * row for number, row in zip(NUMBERS, there, strict=True)]
    np.testing.assert_array_equal(truth, expected)


def test_bad_masks_follow_on_bad(files):
    (files / "m4.png").write_bytes(b"nothing")
    (files / "m9.png").write_bytes(b"")
    reason = r"row 2: 'm': expected a mask \(PNG of 8 x 8\), cannot decode: '.*m4\.png' \(1 such rows\)"
    with pytest.raises(InputError, match=reason):
        mk.batches(mk.read(table(files, NUMBERS), schema()), 4)
    dropping = mk.read(table(files, NUMBERS), schema(), on_bad="drop", bad_limit=0.5)
    with pytest.warns(UserWarning, match="2 of 10 rows left out"):
        assert pairs(mk.batches(dropping, 4)) == [3, 1, 1, 5, 2, 6, 5, 3]
    assert dropping.ledger["row"].tolist() == [2, 5]
    assert dropping.ledger["column"].tolist() == ["m", "m"]
    assert dropping.ledger["value"].tolist() == [str(files / "m4.png"), str(files / "m9.png")]
    assert "found an empty file" in dropping.ledger["reason"][1]
    missing = mk.read(table(files, NUMBERS), schema(optional=True), on_bad="missing", bad_limit=0.5)
    with pytest.warns(UserWarning, match="2 values count as missing"):
        ((x, truth, weights),) = mk.batches(missing, 10)
    assert x["p"].shape[0] == 10
    assert np.flatnonzero(weights == 0).tolist() == [2, 5]
    assert not truth.numpy()[[2, 5]].any()
    (files / "m4.png").unlink()
    with pytest.raises(InputError, match=r"row 2: 'm': no such file"):
        mk.read(table(files, NUMBERS), schema())


def test_bad_pictures_and_bad_masks_of_one_table(files, monkeypatch):
    (files / "m4.png").write_bytes(b"nothing")
    (files / "2.png").write_bytes(b"nothing")
    decodings, in_chunks = [], mk.decode.in_chunks
    monkeypatch.setattr(mk.decode, "in_chunks", lambda part, *rest: decodings.append(part) or in_chunks(part, *rest))
    records = mk.read(table(files, NUMBERS), schema(), on_bad="drop", bad_limit=0.5)
    with pytest.warns(UserWarning, match="1 of (10|9) rows left out"):
        assert pairs(mk.batches(records, 4)) == [3, 1, 1, 5, 9, 6, 5, 3]
    assert pairs(mk.batches(records, 3)) == [3, 1, 1, 5, 9, 6, 5, 3]
    assert pairs(mk.batches(pipeline.readable(records, targets=True), 3)) == [3, 1, 1, 5, 9, 6, 5, 3]
    assert [type(part) for part in decodings] == [PngMask, mk.Image]
    # inputs alone are another set of rows: that of the bad mask is there
    with pytest.warns(UserWarning, match="1 of 10 rows left out"):
        (batch,) = mk.batches(records, 10, targets=False)
    assert batch["p"].numpy()[:, 0, 0, 0].tolist() == [3, 1, 4, 1, 5, 9, 6, 5, 3]


def test_masks_in_shards(files, tmp_path):
    (files / "m4.png").write_bytes(b"nothing")
    records = mk.read(table(files, NUMBERS), schema(optional=True), on_bad="missing", bad_limit=0.5)
    written = mk.write_shards(records, tmp_path / "set", shards=2)
    with pytest.warns(UserWarning, match="1 values count as missing"):
        expected = mk.batches(records, 10)
    for data in (mk.batches(written, 10), mk.batches(mk.read_shards(tmp_path / "set"), 10, training=True)):
        assert data.element_spec == expected.element_spec
        found = [sorted((x["p"][n, 0, 0, 0].numpy(), y[n].numpy().tobytes(), w[n].numpy()) for n in range(10))
                 for x, y, w in (next(iter(data)), next(iter(expected)))]  # fmt: skip
        assert found[0] == found[1]


def test_masks_for_another_process(files, tmp_path):
    records = pipeline.readable(mk.read(table(files, NUMBERS), schema()), targets=True)
    (tmp_path / "kept").mkdir()
    pipeline.write_decoded(records, tmp_path / "kept")
    other = mk.read(table(files, NUMBERS), schema())
    pipeline.read_decoded(other, tmp_path / "kept")
    for number in range(10):
        (files / f"m{number}.png").unlink()
    assert pairs(mk.batches(other, 4)) == NUMBERS
    assert not isinstance(pipeline.truths(other)["m"].values, np.memmap)


def test_masks_on_disk_live_as_long_as_the_pipeline(files, tmp_path):
    (tmp_path / "cache").mkdir()

    def open_files():
        return open("/proc/self/maps").read().count(str(tmp_path / "cache"))

    data = mk.batches(mk.read(table(files, NUMBERS), schema(), memory=0, cache=tmp_path / "cache"), 4)
    gc.collect()
    assert open_files() == 2
    assert pairs(data.repeat(2)) == 2 * NUMBERS
    del data
    gc.collect()
    assert open_files() == 0


def test_a_plain_model_learns_masks(files):
    records = mk.read(table(files, NUMBERS * 4), schema())
    pixels = keras.Input((SIZE, SIZE, 1), name="p", dtype="uint8")
    x = keras.layers.Embedding(10, SIZE * SIZE)(pixels[:, 0, 0, 0])
    drawn = keras.layers.Reshape((SIZE, SIZE), name="m")(x)
    model = keras.Model([pixels], drawn)
    model.compile(keras.optimizers.Adam(0.3), "mse")
    history = model.fit(mk.batches(records, 8, training=True), epochs=20, verbose=0, shuffle=False).history["loss"]
    assert history[-1] < history[0] / 4
    assert model.evaluate(mk.batches(records, 8), verbose=0) < history[0] / 4


LISTS = ["3 1 4", "", "1", "3 1 4", "5 9 2 6"]


def lists(cells, most=4, optional=True, **options):
    given = mk.Schema({"t": mk.Text(1, ["a"])}, {"n": Numbers(most, optional)})
    return mk.read(pd.DataFrame({"t": "a", "n": cells}), given, **options)


@pytest.mark.parametrize("memory", [1.0, 0])
def test_ragged_truths_are_padded_and_their_lengths_kept(memory):
    records = lists(LISTS, memory=memory)
    ((_, truth, weights),) = mk.batches(records, 8)
    assert truth.numpy().tolist() == [[3, 1, 4, 0], [0] * 4, [1, 0, 0, 0], [3, 1, 4, 0], [5, 9, 2, 6]]
    assert weights.numpy().tolist() == [1, 0, 1, 1, 1]
    kept = pipeline.truths(records)
    assert list(kept) == ["n", "n_length"]
    assert kept["n_length"].array().tolist() == [3, 0, 1, 3, 4]
    assert isinstance(kept["n"].values, np.memmap) is (memory == 0)
    assert not isinstance(kept["n_length"].values, np.memmap)


def test_ragged_truths_in_shards(tmp_path):
    records = lists(LISTS)
    ((_, truth, weights),) = mk.batches(mk.write_shards(records, tmp_path, shards=1), 8)
    assert sorted(truth.numpy().tolist()) == sorted(pipeline.labels(records)["n"].tolist())
    assert sorted(weights.numpy().tolist()) == [0, 1, 1, 1, 1]
    (path,) = tmp_path.glob("*.tfrecord")
    example = tf.train.Example.FromString(next(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()))
    assert {"n", "n_length", "n_present"} < set(example.features.feature)


def test_large_truths_are_encoded_some_at_a_time(monkeypatch):
    monkeypatch.setattr(decoded, "CHUNK", 100)  # five rows of 16 bytes and their lengths
    CALLS.clear()
    records = lists([str(number) for number in range(1, 13)], optional=False)
    ((_, truth),) = mk.batches(records, 12)
    assert truth.numpy()[:, 0].tolist() == list(range(1, 13))
    assert CALLS == [5, 5, 2]
    mk.batches(records, 3)
    assert CALLS == [5, 5, 2]


def test_bad_cells_of_a_kind_of_ones_own():
    with pytest.raises(InputError, match=r"row 1: 'n': expected a Numbers: 'x' \(1 such rows\)"):
        mk.batches(lists(["1", "x"]), 2)
    with pytest.raises(InputError, match=r"row 1: 'n': expected a value, found nothing"):
        lists(["1", ""], optional=False)


def test_an_encoder_that_does_not_keep_its_word(monkeypatch):
    monkeypatch.setattr(Numbers, "wrong", True)
    with pytest.raises(
        InputError, match=r"'n': expected encode to give .*'_length': \(2,\).*, received \{'': \(2, 4\)\}"
    ):
        mk.batches(lists(["1", "2"]), 2)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.float64(1.5), "'n_length': expected encode to give int32, as truth says, received float64"),
        (np.int64(2**40), "'n_length': expected encode to give int32, received numbers from 1099511627776"),
    ],
)
def test_truths_that_their_dtype_does_not_hold(monkeypatch, value, message):
    monkeypatch.setattr(
        Numbers, "encode", lambda self, cells: ({"": np.zeros((2, 4), int), "_length": np.full(2, value)}, [True] * 2)
    )
    with pytest.raises(InputError, match=message):
        mk.batches(lists(["1", "2"]), 2)


def test_class_weights_of_a_kind_of_ones_own(tmp_path):
    given = mk.Schema({"t": mk.Text(1, ["a"])}, {"s": Size()})
    records = mk.read(pd.DataFrame({"t": "a", "s": list("ssml")}), given)
    shards = mk.write_shards(records, tmp_path, shards=1)
    assert shards.counts == {"s": [2, 1, 1]}
    for source in (records, shards):
        for asked, expected in [("balanced", [2 / 3, 4 / 3, 4 / 3]), ({"l": 3}, [1, 1, 3])]:
            ((_, truth, weights),) = mk.batches(source, 4, training=True, class_weight=asked)
            np.testing.assert_allclose(weights, np.array(expected)[truth.numpy()], rtol=1e-6)


def test_a_misspelt_keyword():
    with pytest.raises(InputError, match=r"^batches: unknown argument 'trainig'; did you mean 'training'\?"):
        mk.batches(lists(LISTS), 8, trainig=True)
