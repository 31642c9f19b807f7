import numpy as np
import pytest
import tensorflow as tf

from mmkeras.decode import codec_of
from mmkeras.schema import Series

CODEC = codec_of(Series)
STEPS = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
FEATURE = Series(8, 3)


def eagerly(path, feature):
    return CODEC.decode_file(feature, tf.constant(str(path)))


def in_data(path, feature):
    data = tf.data.Dataset.from_tensors(str(path)).map(lambda value: CODEC.decode_file(feature, value))
    assert [part.shape for part in data.element_spec] == [feature.shape, ()]
    return data.get_single_element()


everywhere = pytest.mark.parametrize("run", [eagerly, in_data])


def check(path, feature, wanted, run=eagerly, rtol=0):
    values, length = run(path, feature)
    assert (values.dtype, length.dtype, values.shape) == ("float32", "int32", feature.shape)
    assert length == len(wanted)
    np.testing.assert_allclose(values[: len(wanted)], wanted, rtol=rtol)
    assert not np.any(values[len(wanted) :])


@everywhere
@pytest.mark.parametrize("length", [1, 4, 5, 8])
def test_cut_or_filled_with_zeros(run, length, tmp_path):
    np.save(tmp_path / "a.npy", STEPS)
    check(tmp_path / "a.npy", Series(length, 3), STEPS[:length], run)


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "<i2", ">i4", "u8", "f2", "<f4", ">f8", "longdouble"])
def test_every_real_dtype(dtype, tmp_path):
    steps = (STEPS * 3).astype(dtype) if "u" not in dtype else np.abs(STEPS * 3).astype(dtype)
    np.save(tmp_path / "a.npy", steps)
    check(tmp_path / "a.npy", FEATURE, steps.astype("float32"))


def test_arrays_in_other_orders(tmp_path):
    np.save(tmp_path / "columns.npy", np.asfortranarray(STEPS))
    check(tmp_path / "columns.npy", FEATURE, STEPS)
    np.save(tmp_path / "one.npy", STEPS[:, 0])
    check(tmp_path / "one.npy", Series(8), STEPS[:, :1])
    with (tmp_path / "second").open("wb") as file:
        np.lib.format.write_array(file, STEPS, version=(2, 0))
    check(tmp_path / "second", FEATURE, STEPS)
    check(f"file://{tmp_path}/second", FEATURE, STEPS)


@everywhere
@pytest.mark.parametrize("header", ["", "x{0}y{0}z\n", "1{0}2{0}z\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", " ", ", ", "   "])
def test_text(run, delimiter, header, tmp_path):
    rows = "\n".join(delimiter.join(map(str, row)) for row in STEPS)
    for name, text in {
        "end": rows + "\n",
        "none": rows,
        "blank": f"\n{rows}\n\n",
        "dos": rows.replace("\n", "\r\n"),
    }.items():
        (tmp_path / name).write_bytes((header.format(delimiter) + text).encode())
        check(tmp_path / name, FEATURE, STEPS, run, rtol=1e-6)
        check(tmp_path / name, Series(2, 3), STEPS[:2], run, rtol=1e-6)


def test_text_of_one_column(tmp_path):
    (tmp_path / "a").write_text("\ufeffheart rate\n1\n-2.5e1\n 3\n", encoding="utf-8")
    check(tmp_path / "a", Series(8), [[1], [-25], [3]])
    (tmp_path / "b").write_text("7\n")
    check(tmp_path / "b", Series(8), [[7]])


def test_what_lies_behind_the_steps_kept_is_not_read(tmp_path):
    np.save(tmp_path / "a.npy", np.vstack([STEPS, np.full((1, 3), np.nan)]))
    check(tmp_path / "a.npy", Series(5, 3), STEPS)
    (tmp_path / "b.csv").write_text("1,2,3\n4,5,6\nnot,a,number\n7\n")
    check(tmp_path / "b.csv", Series(2, 3), [[1, 2, 3], [4, 5, 6]])


def npy(array, cut=None):
    def write(path):
        np.save(path, array)
        path.write_bytes(path.read_bytes()[:cut])

    return write


def text(content, encoding="utf-8"):
    return lambda path: path.write_bytes(content.encode(encoding))


HOLE = STEPS.copy()
HOLE[3, 1] = np.nan
REASONS = {
    "channels": (npy(STEPS[:, :2]), "expected 3 channels, found 2"),
    "one channel": (npy(STEPS[:, 0]), "expected an array (steps, 3), found (5,)"),
    "three axes": (npy(STEPS[None]), "expected an array (steps, 3), found (1, 5, 3)"),
    "a number": (npy(np.float32(1)), "expected an array (steps, 3), found ()"),
    "NaN": (npy(HOLE), "found NaN at step 3"),
    "infinity": (npy(np.full((2, 3), np.inf)), "found infinity, or a number that float32 cannot hold, at step 0"),
    "too great": (npy(STEPS.astype("f8") * 1e300), "found infinity, or a number that float32 cannot hold, at step 0"),
    "no steps": (npy(STEPS[:0]), "found no steps"),
    "complex": (npy(STEPS + 1j), "expected an array of real numbers, found dtype complex64"),
    "words": (npy(np.array([["a"] * 3])), "expected an array of real numbers, found dtype <U1"),
    "dates": (
        npy(np.array([["2020-01-01"] * 3], "M8[D]")),
        "expected an array of real numbers, found dtype datetime64[D]",
    ),
    "objects": (npy(np.array([[None] * 3])), "expected an array of real numbers, found dtype object"),
    "cut": (npy(STEPS, -1), "expected 60 bytes of an array (5, 3), found 59: a file cut short"),
    "cut in its header": (npy(STEPS, 40), "EOF: reading array header"),
    "no text": (text(""), "found no steps"),
    "blank": (text(" \n\n"), "found no steps"),
    "header alone": (text("a,b,c\n"), "found no steps"),
    "word": (text("1,2,3\n4,5,6\n7,abc,9\n"), "expected numbers, found 'abc' in line 3"),
    "hole": (text("a,b,c\n1,,3\n"), "expected numbers, found '' in line 2"),
    "decimal comma": (text("1,5;2,5;3,5\n1,5;2,5;3,5\n"), "expected numbers, found '1,5' in line 2"),
    "columns": (text("a,b\n1,2\n"), "expected 3 channels, found 2 in line 2"),
    "cut row": (text("1,2,3\n4,5"), "expected 3 channels, found 2 in line 2"),
    "long row": (text("1,2,3\n4,5,6,7\n"), "expected 3 channels, found 4 in line 2"),
    "nan": (text("1,2,3\n4,nan,6\n"), "found NaN at step 1"),
    "inf": (text("1,2,3\n4,5,6\n-inf,nan,0\n"), "found NaN at step 2"),
    "UTF-16": (text("1,2,3\n", "utf-16"), "expected a .npy file or text in UTF-8"),
    "missing": (lambda path: None, "No such file or directory"),
    "folder": (lambda path: path.mkdir(), "Is a directory"),
}


@pytest.mark.parametrize("name", REASONS)
def test_what_is_no_such_trace(name, tmp_path):
    write, reason = REASONS[name]
    path = tmp_path / "trace.npy"
    write(path)
    assert reason in CODEC.why(FEATURE, str(path))
    for read in (eagerly, in_data):
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            read(path, FEATURE)
        assert reason in str(caught.value).replace("\\", "")


def test_a_bad_file_costs_its_own_row_alone(tmp_path):
    np.save(tmp_path / "a.npy", STEPS)
    np.save(tmp_path / "b.npy", HOLE)
    paths = [str(tmp_path / name) for name in ("a.npy", "b.npy", "no.npy", "a.npy")]
    data = tf.data.Dataset.from_tensor_slices(paths).map(lambda path: CODEC.decode_file(FEATURE, path)).ignore_errors()
    assert [int(length) for _, length in data] == [5, 5]
