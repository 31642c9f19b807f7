"""Changes of traces, columns and videos."""

import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras.augment import AUGMENTATIONS, augmenter
from mmkeras.errors import InputError

ROWS = 200
SCHEMA = mk.Schema(
    inputs={
        "trace": mk.Series(40, 2, means=(5, -100), std=(1, 10)),
        "cells": mk.Tabular(["a", "b"], ["c"], means=(0, 50), std=(1, 5), vocabularies=[["x", "y"]]),
        "clip": mk.Video(4, 6, 5, 3),
    },
    targets={"answer": mk.Category(["a", "b"])},
)


def changed(name, x, options, **beside):
    """One input after augmentation, as numpy."""
    given = {name: tf.constant(x), **{key: tf.constant(value) for key, value in beside.items()}}
    return augmenter(SCHEMA, {name: options})(given, 3)[name].numpy()


def ramps(lengths):
    """Steps 1, 2, 3, ... and ten times that, to each row's length."""
    x = np.arange(1, 41, dtype="float32")[None, :, None] * np.float32([1, 10])
    return np.where(np.arange(40)[None, :, None] < np.asarray(lengths)[:, None, None], x, 0).astype("float32")


def test_a_warp_leaves_the_ends_and_the_order():
    lengths = np.array([40, 25, 1, 0] * 50, "int32")
    x = ramps(lengths)
    new = changed("trace", x, {"warp": 0.2}, trace_length=lengths)
    np.testing.assert_allclose(new[:, 0], x[:, 0], atol=1e-5)
    np.testing.assert_allclose(new[::4, -1], x[::4, -1], atol=1e-3)
    np.testing.assert_allclose(new[1::4, 24], x[1::4, 24], atol=1e-3)
    assert (np.diff(new[::4, :, 0], axis=1) > 0).all()
    moved = np.abs(new - x)[::4, :, 0].max(axis=1)
    assert 0.2 * 39 >= moved.max() > 0.15 * 39
    np.testing.assert_allclose(new[..., 1], 10 * new[..., 0], rtol=1e-4)
    np.testing.assert_array_equal(new == 0, x == 0)  # nothing behind the end


def test_a_scale_for_each_sensor_about_its_mean():
    x = np.tile(np.float32([[6, -80]]), (ROWS, 40, 1))
    new = changed("trace", x, {"scale": 0.5}, trace_length=np.full(ROWS, 40, "int32"))
    factors = (new - [5, -100]) / [1, 20]
    assert np.ptp(factors, axis=1).max() < 1e-4  # the same at all steps
    assert factors.min() > 0.5 - 1e-4
    assert factors.max() < 1.5 + 1e-4
    assert abs(np.corrcoef(factors[:, 0].T)[0, 1]) < 0.3


def test_noise_in_standard_deviations():
    x, full = np.zeros((ROWS, 40, 2), "float32"), np.full(ROWS, 40, "int32")
    new = changed("trace", x, {"noise": 0.5}, trace_length=full)
    np.testing.assert_allclose(new.std(axis=(0, 1)), [0.5, 5], rtol=0.05)
    cells = np.tile(np.float32([[0, 50, 1, 0, 2]]), (2000, 1))
    new = changed("cells", cells, {"noise": 0.5})
    assert new[:, 0].std() == pytest.approx(0.5, rel=0.1)
    np.testing.assert_array_equal(new[:, 1:], cells[:, 1:])  # b is a hole; flags and words stay


def test_hidden_cells_are_holes():
    cells = np.tile(np.float32([[7, 50, 1, 1, 3]]), (2000, 1))
    new = changed("cells", cells, {"hide": 0.25})
    hidden = new[:, [2, 3, 4]] == 0
    np.testing.assert_allclose(hidden.mean(axis=0), 0.25, atol=0.04)
    np.testing.assert_array_equal(new[:, [0, 1]], np.where(hidden[:, :2], 0, [7, 50]))
    assert set(new[:, 4]) == {0, 3}


def test_frames_of_a_video_are_changed_alike():
    frame = np.random.default_rng(0).integers(60, 190, (ROWS, 1, 6, 5, 3))
    x = np.repeat(frame, 4, axis=1).astype("uint8")
    full = {"clip_length": np.full(ROWS, 4, "int32")}
    new = changed("clip", x, {"flip": True, "brightness": 0.2, "contrast": 0.1, "colour": 0.1}, **full)
    assert (new == new[:, :1]).all()
    assert len(np.unique(new, axis=0)) == ROWS
    flipped = changed("clip", x, {"flip": True}, **full)
    mirrored = (flipped == x[:, :, :, ::-1]).all(axis=(1, 2, 3, 4))
    assert 0.35 < mirrored.mean() < 0.65
    assert (flipped[~mirrored] == x[~mirrored]).all()


def test_what_is_mild_is_allowed_and_zero_changes_nothing():
    for name, feature in SCHEMA.inputs.items():
        mild = AUGMENTATIONS.of(feature).mild(feature)
        augmenter(SCHEMA, {name: mild})
    x = ramps([40] * 3)
    same = changed("trace", x, {"warp": 0, "scale": 0, "noise": 0}, trace_length=np.full(3, 40, "int32"))
    np.testing.assert_allclose(same, x, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trace": {"warp": 0.5}}, r"expected warp to be from 0 to 0.3 \(share of the length\), received 0.5"),
        ({"cells": {"hide": -1}}, r"expected hide to be from 0 to 1 \(probability\), received -1"),
        ({"clip": {"flip": "vertical"}}, "expected flip to be True or False, received 'vertical'"),
        ({"clip": {"crop": 0.1}}, "unknown option of Video 'crop'"),
    ],
)
def test_refused(options, message):
    with pytest.raises(InputError, match=message):
        augmenter(SCHEMA, options)
