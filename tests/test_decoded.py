"""Where decoded values are kept, and how batches are gathered from them."""

import gc
import os
import wave

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras import pipeline
from mmkeras.errors import InputError
from mmkeras.pipeline import decoded

RATE = 1000


def write_wav(path, samples, width=2):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(RATE)
        file.writeframes(np.asarray(samples, f"<i{width}").tobytes())
    return path


def read(frame, schema, **options):
    return mk.read(frame, mk.Schema(inputs=schema, targets={"y": mk.Number(mean=0, std=1)}), **options)


@pytest.fixture
def levels(tmp_path):
    """Ten grey pictures of 4 x 4; picture n has the level n."""
    for level in range(10):
        pixels = tf.fill([4, 4, 1], tf.cast(level, tf.uint8))
        (tmp_path / f"{level}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    return tmp_path


def pictures(folder, numbers, **options):
    frame = pd.DataFrame({"p": [folder / f"{n}.png" for n in numbers], "y": range(len(numbers))})
    return read(frame, {"p": mk.Image(4, 4, 1, shared=True)}, **options)


def shown(data):
    """(picture's level, row) of all rows of one epoch, by batch."""
    return [list(zip(x["p"][:, 0, 0, 0].numpy().tolist(), y.numpy().tolist(), strict=True)) for x, y in data]


def test_what_memory_does_not_hold_lies_on_disk(levels, tmp_path):
    numbers = [3, 1, 4, 1, 5, 9, 2, 6]
    in_memory, on_disk = pictures(levels, numbers), pictures(levels, numbers, memory=0, cache=tmp_path)
    assert not isinstance(pipeline.columns(in_memory)["p"].values, np.memmap)
    assert isinstance(pipeline.columns(on_disk)["p"].values, np.memmap)
    assert shown(mk.batches(in_memory, 3)) == shown(mk.batches(on_disk, 3))
    assert shown(mk.batches(in_memory, 3, training=True)) == shown(mk.batches(on_disk, 3, training=True))


def test_the_budget_is_that_of_the_process(levels):
    gc.collect()
    memory = 100 / 2**30  # six pictures of 16 bytes
    kept = [pictures(levels, [n, n + 1], memory=1.0) for n in range(3)]
    used = sum(pipeline.columns(records)["p"].in_memory for records in kept)
    assert used == 96
    assert pipeline.columns(pictures(levels, [1], memory=memory))["p"].in_memory == 0
    del kept
    gc.collect()


def test_files_on_disk_go_with_their_records(levels, tmp_path):
    def open_files():
        links = [os.path.join("/proc/self/maps")]
        return open(links[0]).read().count(str(tmp_path / "cache"))

    (tmp_path / "cache").mkdir()
    records = pictures(levels, [1, 2], memory=0, cache=tmp_path / "cache")
    data = mk.batches(records, 2)
    assert len(shown(data)) == 1
    assert open_files() == 1
    assert not list((tmp_path / "cache").iterdir())  # even a killed process leaves nothing behind
    del records
    gc.collect()
    assert shown(data.repeat(2)) == 2 * shown(data)  # what is read from lives on
    del data
    gc.collect()
    assert open_files() == 0


def test_a_disk_that_is_too_small(levels, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"do not fit into .*No space left on device; use read\(\.\.\., memory="):
        mk.batches(pictures(levels, [1, 2], memory=0, cache=tmp_path), 2)
    with pytest.raises(InputError, match="No such file"):
        mk.batches(pictures(levels, [1, 2], memory=0, cache=tmp_path / "nowhere"), 2)


@pytest.mark.parametrize("memory", [1.0, 0])
@pytest.mark.parametrize("widths", [[2, 2, 2], [4, 2, 2], [2, 2, 4]])
def test_recordings_are_kept_in_16_bits_where_that_is_exact(tmp_path, monkeypatch, widths, memory):
    random, waves = np.random.default_rng(0), []
    monkeypatch.setattr(mk.decode.chunks, "_chunk", lambda feature: 1)
    for number, width in enumerate(widths):
        top = 2 ** (8 * width - 1)
        waves.append(random.integers(-top, top, 50))
        write_wav(tmp_path / f"{number}.wav", waves[-1], width)
    frame = pd.DataFrame({"s": [tmp_path / f"{n}.wav" for n in range(3)], "y": 0})
    records = read(frame, {"s": mk.Audio(RATE, 0.05)}, memory=memory)
    ((inputs, _),) = mk.batches(records, 3)
    expected = [wave / 2.0 ** (8 * width - 1) for wave, width in zip(waves, widths, strict=True)]
    np.testing.assert_array_equal(inputs["s"], np.array(expected, np.float32))
    exact = set(widths) == {2}
    assert pipeline.columns(records)["s"].values.dtype == (np.int16 if exact else np.float32)


def test_training_takes_another_window_in_every_epoch(tmp_path):
    ramp = np.arange(40) * 512  # its value says which sample it is
    write_wav(tmp_path / "long.wav", ramp)
    write_wav(tmp_path / "short.wav", ramp[:15])
    frame = pd.DataFrame({"s": [tmp_path / "long.wav", tmp_path / "short.wav"] * 50, "y": [0, 1] * 50})
    records = read(frame, {"s": mk.Audio(RATE, 0.01, longest=0.03)})

    def starts(data):
        (batch,) = data
        waves = np.rint(np.array(batch[0]["s"]) * 2**15 / 512).astype(int)
        for window in waves:
            assert (np.diff(window) == 1).all()
        return {y: set(waves[np.array(batch[1]) == y, 0].tolist()) for y in (0, 1)}

    assert starts(mk.batches(records, 100)) == {0: {0}, 1: {0}}
    data = mk.batches(records, 100, training=True)
    first, second = starts(data), starts(data)
    assert first != second
    assert first[0] | second[0] <= set(range(21))  # of the 30 samples kept
    assert max(first[0] | second[0]) > 15
    assert first[1] | second[1] == set(range(6))


def deduplicated_model(data):
    """By batch: levels of the pictures, and (picture, row) of each row."""
    found = []
    for (index, pixels), rows in data:
        level = pixels[:, 0, 0, 0].numpy()
        found.append((level.tolist(), list(zip(level[index].tolist(), rows.numpy().astype(int).tolist(), strict=True))))
    return found


def test_a_grouped_batch_holds_each_picture_once(levels):
    numbers = [n % 7 for n in range(50)]
    records = pictures(levels, numbers)
    plain = sorted(pair for batch in shown(mk.batches(records, 50)) for pair in batch)
    for training in (False, True):
        data = mk.batches(records, 12, group_by="p", training=training)
        batches = deduplicated_model(data)
        assert [len(rows) for _, rows in batches] == [12, 12, 12, 12, 2]
        assert len(data) == 5
        assert all(len(set(levels)) == len(levels) <= 4 for levels, _ in batches)  # 7 or 8 rows show one picture
        assert sorted(pair for _, rows in batches for pair in rows) == plain
    first, second = deduplicated_model(data), deduplicated_model(data)
    assert first != second
    assert (
        deduplicated_model(mk.batches(records, 12, group_by="p", training=True)) == batches
    )  # the first epoch of the same seed


def test_groups_with_absent_values(levels):
    schema = {"p": mk.Image(4, 4, 1, shared=True, optional=True), "t": mk.Text(1, ["a"])}
    frame = pd.DataFrame({"p": [levels / "5.png", None, levels / "5.png"], "t": "a", "y": range(3)})
    records = read(frame, schema)
    (((index, present, text, pixels), rows),) = mk.batches(records, 3, group_by="p")
    assert list(records.schema.deduplicated_inputs("p")) == ["p_index", "p_present", "t", "p"]
    assert text.shape == (3, 1)
    assert pixels.shape == (2, 4, 4, 1)
    seen = {
        row: (p, level)
        for row, p, level in zip(rows.numpy(), present.numpy(), pixels.numpy()[index, 0, 0, 0], strict=True)
    }
    assert seen == {0: (True, 5), 1: (False, 0), 2: (True, 5)}


def test_what_cannot_be_grouped(levels):
    records = pictures(levels, [1, 2])
    with pytest.raises(InputError, match=r"group_by: unknown input 'q'; .*Known: p"):
        mk.batches(records, 2, group_by="q")
    frame = pd.DataFrame({"p": [levels / "5.png"], "y": 0})
    with pytest.raises(InputError, match=r"group_by='p': expected an input with shared=True, received Image"):
        mk.batches(read(frame, {"p": mk.Image(4, 4, 1)}), 2, group_by="p")
    with (
        tf.distribute.OneDeviceStrategy("CPU:0").scope(),
        pytest.raises(InputError, match="group_by='p' under a distribution strategy"),
    ):
        mk.batches(records, 2, group_by="p")


def test_stored_is_the_longest(tmp_path):
    assert decoded.stored(mk.Audio(10, 1, longest=3)) == mk.Audio(10, 3)


def test_a_grouped_model_learns_what_the_plain_one_does(levels):
    """Real batches: the same rows in the same order give the same loss, metrics and weights in both views."""
    numbers = [n % 7 for n in range(50)]
    records = pictures(levels, numbers)
    plain = mk.build(records.schema, width=8)
    view = mk.deduplicated_model(plain, records.schema, "p")
    start = plain.get_weights()
    data = mk.batches(records, 12, group_by="p")
    in_order = [rows for _, rows in data]
    view.compile("sgd", **mk.compile_args(records.schema))
    seen = view.fit(data, epochs=1, verbose=0, shuffle=False).history
    learned = plain.get_weights()
    plain.set_weights(start)
    ordered = records.take(np.concatenate(in_order).astype(int))
    plain.compile("sgd", **mk.compile_args(records.schema))
    expected = plain.fit(mk.batches(ordered, 12), epochs=1, verbose=0, shuffle=False).history
    assert seen.keys() == expected.keys()
    for metric, values in seen.items():
        assert values == pytest.approx(expected[metric], rel=1e-4)
    for new, old in zip(learned, plain.get_weights(), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)
