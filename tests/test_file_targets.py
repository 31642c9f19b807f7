"""Targets whose cells are files: found, checked and decoded as inputs are."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras.decode import CODECS, FileCodec, codec_of, in_chunks
from mmkeras.errors import InputError
from mmkeras.targets import TARGETS, Target


@dataclass(frozen=True)
class Mask(Target):
    """A class for each pixel, from a grey PNG."""

    height: int
    width: int
    optional: bool = False
    column: str | None = None
    dtype = "int32"
    files = True

    @property
    def truth(self):
        return {"": ((self.height, self.width), "int32")}


class MaskCodec(FileCodec):
    format = "a mask (PNG)"

    def decode_bytes(self, feature, raw):
        return (tf.ensure_shape(tf.cast(tf.io.decode_png(raw, channels=1)[..., 0], tf.int32), feature.shape),)


@pytest.fixture(autouse=True)
def kind(monkeypatch):
    monkeypatch.setitem(TARGETS, "Mask", Mask)
    monkeypatch.setitem(CODECS, Mask, MaskCodec())


@pytest.fixture
def table(tmp_path):
    masks = np.random.default_rng(0).integers(0, 5, (3, 4, 6))
    for number, mask in enumerate(masks):
        tf.io.write_file(str(tmp_path / f"{number}.png"), tf.io.encode_png(mask[..., None].astype("uint8")))
    (tmp_path / "bad.png").write_bytes(b"\x89PNG cut short")
    (tmp_path / "empty.png").touch()
    frame = pd.DataFrame({"text": ["a", "b", "c"], "mask": ["0.png", "1.png", "2.png"]})
    frame.to_csv(tmp_path / "table.csv", index=False)
    return tmp_path, frame, masks


def schema(**options):
    return mk.Schema(inputs={"text": mk.Text(2)}, targets={"mask": Mask(4, 6, **options)})


def test_paths_become_absolute_and_files_are_decoded(table):
    folder, _, masks = table
    records = mk.read(folder / "table.csv", schema(), check="decode")
    assert records.values("mask").tolist() == [str(folder / f"{number}.png") for number in range(3)]
    distinct, index = records.distinct("mask")
    (decoded,) = in_chunks(records.schema.targets["mask"], distinct)
    np.testing.assert_array_equal(decoded.values[index], masks)
    assert (decoded.values.dtype, decoded.length) == ("int32", None)
    assert records.fit().schema.fitted


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("no.png", "no such file in"),
        ("", "expected a value, found nothing"),
        ("bad.png", "expected a mask (PNG), cannot decode"),
        ("empty.png", "expected a mask (PNG), found an empty file"),
    ],
)
def test_bad_files_are_named(table, cell, reason):
    folder, frame, _ = table
    frame.loc[1, "mask"] = cell
    frame.to_csv(folder / "table.csv", index=False)
    with pytest.raises(InputError, match=f"row 1: 'mask': {re.escape(reason)}"):
        mk.read(folder / "table.csv", schema(), check="decode")
    with pytest.warns(UserWarning, match="1 of 3 rows left out"):
        records = mk.read(folder / "table.csv", schema(), check="decode", on_bad="drop", bad_limit=1)
    assert len(records) == 2
    assert records.ledger["row"].tolist() == [1]
    assert len(mk.read(folder / "table.csv", schema(), check="decode", targets=False)) == 3


def test_an_optional_one_may_be_missing(table):
    folder, frame, _ = table
    frame.loc[1, "mask"] = "bad.png"
    frame.loc[2, "mask"] = ""
    frame.to_csv(folder / "table.csv", index=False)
    with pytest.warns(UserWarning, match="1 values count as missing"):
        records = mk.read(folder / "table.csv", schema(optional=True), check="decode", on_bad="missing", bad_limit=1)
    assert records.there("mask").tolist() == [True, False, False]


def test_a_kind_without_a_codec_is_refused(table, monkeypatch):
    monkeypatch.delitem(CODECS, Mask)
    with pytest.raises(InputError, match=r"unknown kind 'Mask': no codec .*@mmkeras\.decode\.register\(Mask\)"):
        mk.read(table[0] / "table.csv", schema())
    with pytest.raises(InputError, match="unknown kind 'Category': no codec"):
        codec_of(mk.Category)
