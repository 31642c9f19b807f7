import json
import os
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.files import one_at_a_time
from mmkeras.pipeline import shards

ROWS = 40
SCHEMA = mk.Schema(
    inputs={
        "image": mk.Image(4, 4, 1, optional=True),
        "note": mk.Text(2, ["a", "b"]),
        "size": mk.Tabular(["height"], means=[0], std=[1], vocabularies=[]),
        "trace": mk.Series(6, 2, [0, 0], [1, 1]),
    },
    targets={
        "kind": mk.Category(["x", "y", "z"]),
        "tags": mk.Labels(["p", "q"]),
        "row": mk.Number(mean=0, std=1, optional=True),
    },
)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """40 rows; the picture of row n has the level n, every fifth is missing; row 7 has no number."""
    folder, rows = tmp_path_factory.mktemp("values"), []
    for row in range(ROWS):
        (folder / f"{row}.png").write_bytes(tf.io.encode_png(tf.fill([4, 4, 1], tf.cast(row, tf.uint8))).numpy())
        np.save(folder / f"{row}.npy", np.full((row % 8 + 1, 2), row, np.float32))
        image = "" if row % 5 == 0 else f"{row}.png"
        rows.append(
            (
                image,
                "ab"[row % 2],
                str(row),
                f"{row}.npy",
                "xyyy"[row % 4],
                "p|q" if row % 2 else "q",
                "" if row == 7 else row,
            )
        )
    frame = pd.DataFrame(rows, columns=["image", "note", "height", "trace", "kind", "tags", "row"])
    frame.to_csv(folder / "rows.csv", index=False)
    return mk.read(folder / "rows.csv", SCHEMA)


def rows_of(data):
    """Each row of one epoch as plain numbers, by the number that "size" holds."""
    found = {}
    for batch in data:
        flat = [value.numpy() for value in tf.nest.flatten(batch)]
        for row, height in enumerate(batch[0]["size"].numpy()[:, 0]):
            assert height not in found
            found[height] = [value[row].tolist() for value in flat]
    return found


def order(data):
    return [height for batch in data for height in batch[0]["size"].numpy()[:, 0].tolist()]


def test_shards_hold_what_the_records_hold(records, tmp_path):
    written = mk.write_shards(records, tmp_path / "set", shards=3)
    assert len(written) == ROWS
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        *(f"shard-0000{n}-of-00003.tfrecord" for n in range(3)),
        "shards.json",
    ]
    read = mk.read_shards(tmp_path / "set", check=True)
    assert read == written
    assert read.schema == records.schema
    expected = rows_of(mk.batches(records, 16))
    for training in (False, True):
        data = mk.batches(read, 16, training=training)
        assert len(data) == 3
        assert data.element_spec == mk.batches(records, 16).element_spec
        assert rows_of(data) == expected
    (alone,) = mk.batches(read, ROWS, targets=False)
    assert list(alone) == list(SCHEMA.model_inputs)


def test_order(records, tmp_path):
    written = mk.write_shards(records, tmp_path, shards=4)
    assert order(mk.batches(written, 7)) == order(mk.batches(written, 7)) != sorted(order(mk.batches(written, 7)))
    data = mk.batches(written, 7, training=True)
    first, second = order(data), order(data)
    assert first != second
    assert order(mk.batches(written, 7, training=True)) == first
    assert order(mk.batches(written, 7, training=True, seed=1)) != first


def test_class_weights(records, tmp_path):
    written = mk.write_shards(records, tmp_path, shards=2)
    assert written.counts == {"kind": [10, 30, 0]}

    def weights(source):
        found = {}
        for inputs, _, given in mk.batches(source, 16, training=True, class_weight={"kind": "balanced"}):
            for row, height in enumerate(inputs["size"].numpy()[:, 0]):
                found[height] = {name: float(value[row]) for name, value in given.items()}
        return found

    assert weights(written) == weights(records)
    assert weights(written)[7]["row"] == 0


def test_workers_share_the_files(records, tmp_path):
    written = mk.write_shards(records, tmp_path, shards=3)
    parts = [order(mk.batches(written, 8, training=True, shard=(n, 2))) for n in range(2)]
    assert sorted(parts[0] + parts[1]) == list(range(ROWS))
    assert abs(len(parts[0]) - len(parts[1])) <= ROWS / 3 + 1
    assert len(mk.batches(written, 8, shard=(0, 2))) == -(-len(parts[0]) // 8)
    for shard in [(2, 2), (-1, 2), (0, 4)]:
        with pytest.raises(InputError, match=r"expected shard to be .* at most 3 workers"):
            mk.batches(written, 8, shard=shard)
    with pytest.raises(InputError, match="shard with Shards only"):
        mk.batches(records, 8, shard=(0, 2))
    with pytest.raises(InputError, match="group_by needs Records"):
        mk.batches(written, 8, group_by="image")


def test_a_model_trains_on_shards(records, tmp_path):
    written = mk.write_shards(records, tmp_path, shards=2)
    model = mk.build(written.schema, width=8)
    model.compile("adam", **mk.compile_args(written.schema))
    history = model.fit(mk.batches(written, 8, training=True), epochs=2, verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"]).all()


def test_the_same_call_again_does_nothing(records, tmp_path, monkeypatch):
    written = mk.write_shards(records, tmp_path, shards=2)
    monkeypatch.setattr(shards, "readable", None)
    assert mk.write_shards(records, tmp_path, shards=2) == written


def test_a_folder_of_other_records(records, tmp_path):
    mk.write_shards(records, tmp_path, shards=2)
    for other in ({"shards": 3}, {"shards": 2, "seed": 1}):
        with pytest.raises(InputError, match="holds shards of other records"):
            mk.write_shards(records, tmp_path, **other)
    with pytest.raises(InputError, match="holds shards of other records"):
        mk.write_shards(records.take(range(39)), tmp_path, shards=2)
    (tmp_path / "shards.json").unlink()
    with pytest.raises(InputError, match=r"shard-00000-of-00002.tfrecord' is there already, and it is not known"):
        mk.write_shards(records, tmp_path, shards=2)


def test_one_process_at_a_time(records, tmp_path):
    with (
        one_at_a_time(tmp_path, ""),
        pytest.raises(InputError, match=rf"write_shards: another process is at work .*process {os.getpid()} on "),
    ):
        mk.write_shards(records, tmp_path, shards=2)
    assert os.listdir(tmp_path) == []


def test_interrupted_writing_goes_on(records, tmp_path, monkeypatch):
    whole = mk.write_shards(records, tmp_path / "whole", shards=4)
    calls, readable = [], shards.readable

    def interrupted(part, targets):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(part)
        return readable(part, targets=targets)

    monkeypatch.setattr(shards, "readable", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mk.write_shards(records, tmp_path / "broken", shards=4)
    with pytest.raises(
        InputError, match=r"expected a folder with shards\.json, found an unfinished folder: call write_sh"
    ):
        mk.read_shards(tmp_path / "broken")
    with pytest.raises(InputError, match="holds shards of other records"):
        mk.write_shards(records, tmp_path / "broken", shards=3)
    again = []
    monkeypatch.setattr(shards, "readable", lambda part, targets: again.append(part) or readable(part, targets=targets))
    assert mk.write_shards(records, tmp_path / "broken", shards=4).files == whole.files
    assert len(again) == 2


def test_a_damaged_shard_is_written_again_and_never_read(records, tmp_path):
    written = mk.write_shards(records, tmp_path, shards=2)
    path = tmp_path / "shard-00001-of-00002.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"shard-00001.*its SHA-256 sum is not the one that was written"):
        mk.read_shards(tmp_path, check=True)
    with pytest.raises(tf.errors.DataLossError):
        rows_of(mk.batches(written, 8))
    path.write_bytes(content[:-100])
    with pytest.raises(InputError, match=r"shard-00001.*: expected a file of \d+ bytes, found \d+ bytes"):
        mk.read_shards(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"found none$"):
        mk.read_shards(tmp_path)
    with pytest.raises(InputError, match=r"expected a folder with shards\.json, found none"):
        mk.read_shards(tmp_path / "nowhere")


def test_bad_rows_are_left_out_and_accounted_for(records, tmp_path):
    frame = records.frame.copy()
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    frame.loc[[3, 11], "trace"] = str(tmp_path / "bad.npy")
    dropping = mk.read(frame, records.schema, on_bad="drop")
    with pytest.warns(UserWarning, match="2 of 40 rows left out"):
        written = mk.write_shards(dropping, tmp_path / "set", shards=4)
    assert len(written) == 38
    assert dropping.ledger["row"].tolist() == [3, 11]
    assert sorted(set(range(ROWS)) - set(order(mk.batches(written, 8)))) == [3, 11]
    with pytest.raises(InputError, match=r"row (3|11): 'trace'"):
        mk.write_shards(mk.read(frame, records.schema), tmp_path / "raise", shards=4)
    strict = mk.read(frame, records.schema, on_bad="drop", bad_limit=0.04)
    with pytest.raises(InputError, match=r"2 of 40 rows are bad, more than bad_limit=0\.04"):
        mk.write_shards(strict, tmp_path / "strict", shards=4)


def test_what_cannot_be_written(records, tmp_path):
    for number in (0, 41, 2.0, True):
        with pytest.raises(InputError, match=re.escape(f"a whole number from 1 to the 40 rows, received {number!r}")):
            mk.write_shards(records, tmp_path, shards=number)
    with pytest.raises(InputError, match="needs a fitted schema"):
        mk.write_shards(replace(records, schema=mk.Schema(SCHEMA.inputs, {"kind": mk.Category()})), tmp_path, shards=2)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"write_shards: cannot write to .*file"):
        mk.write_shards(records, tmp_path / "file" / "set", shards=2)
    with pytest.raises(InputError, match="expected Records"):
        mk.write_shards(records.frame, tmp_path, shards=2)


def test_index_is_plain_json(records, tmp_path):
    mk.write_shards(records, tmp_path, shards=2)
    index = json.loads((tmp_path / "shards.json").read_text())
    assert [file["rows"] for file in index["files"].values()] == [20, 20]
    example = tf.train.Example.FromString(
        next(tf.data.TFRecordDataset(str(tmp_path / "shard-00000-of-00002.tfrecord")).as_numpy_iterator())
    )
    assert set(example.features.feature) == {
        *SCHEMA.model_inputs,
        *SCHEMA.targets,
        *(f"{name}_present" for name in SCHEMA.targets),
    }
