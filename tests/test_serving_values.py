"""What a client sends of kinds of input that are not mmkeras' own; no server is asked."""

import io
from dataclasses import dataclass

import numpy as np
import pytest

import mmkeras as mk
from mmkeras import inputs
from mmkeras.errors import InputError
from mmkeras.serving import media
from mmkeras.serving.arrays import as_arrays
from mmkeras.serving.values import as_columns, load_schema


@dataclass(frozen=True)
class Cloud(inputs.Input):
    points: int
    optional: bool = False
    dtype = "float32"
    wire = "numbers"
    files = True
    padded = True

    @property
    def shape(self):
        return (self.points, 3)


@dataclass(frozen=True)
class Sketch(inputs.Input):
    """A file of another format, which the served model reads."""

    shape = (4, 4)
    files = True


@dataclass(frozen=True)
class Views(mk.Image):
    """Several pictures a row."""

    several = True

    def table_columns(self, name):
        return ("front", "back")


@pytest.fixture(autouse=True)
def own_kinds():
    for kind in (Cloud, Sketch, Views):
        inputs.register(kind.__name__)(kind)
    yield
    for kind in (Cloud, Sketch, Views):
        inputs.INPUTS.pop(kind.__name__)
        media.MEDIA.pop(kind, None)


def sent(values, signature, schema=None, rotate=False):
    schema = load_schema(schema)
    columns = as_columns(values, signature, schema)
    return as_arrays(columns, signature, schema, range(len(next(iter(columns.values())))), rotate)


CLOUD = {"cloud": ("string", (None,))}
CLOUDS = {"inputs": {"cloud": {"kind": "Cloud", "points": 5}}}


def test_numbers_are_sent_as_npy_files(tmp_path):
    np.save(tmp_path / "long.npy", np.ones((9, 3)))
    values = [
        tmp_path / "long.npy",
        str(tmp_path / "long.npy"),
        np.full((2, 3), 7, "float32"),
        [[1, 2, 3]],
        None,
        "",
        [],
    ]
    arrays = sent({"cloud": [*values, b"raw"]}, CLOUD, CLOUDS)
    found = [np.load(io.BytesIO(one)) for one in arrays["cloud"][:4]]
    assert [one.tolist() for one in found] == [np.ones((5, 3)).tolist()] * 2 + [
        np.full((2, 3), 7).tolist(),
        [[1, 2, 3]],
    ]
    assert found[2].dtype == "float32"
    assert [one or b"" for one in arrays["cloud"][4:]] == [b"", b"", b"", b"raw"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones((4, 2)), r"row 0: 'cloud': expected numbers \(steps, 3\), received an array \(4, 2\)"),
        (np.ones(4), r"expected numbers \(steps, 3\), received an array \(4,\)"),
        (__file__, "expected a .npy file or an array, received '.*test_serving_values.py'"),
    ],
)
def test_other_numbers_are_refused(value, message):
    with pytest.raises(InputError, match=message):
        sent({"cloud": [value]}, CLOUD, CLOUDS)


def test_files_of_a_kind_without_media_go_as_they_are(tmp_path):
    (tmp_path / "a.mp3").write_bytes(b"not a recording")
    signature, schema = {"x": ("string", (None,))}, {"inputs": {"x": {"kind": "Sketch"}}}
    values = [str(tmp_path / "a.mp3"), tmp_path / "a.mp3", b"raw", None]
    assert sent({"x": values}, signature, schema)["x"].tolist() == [b"not a recording"] * 2 + [b"raw", ""]
    with pytest.raises(InputError, match=r"row 0: 'x': expected bytes or a path, received an array \(4, 4\)"):
        sent({"x": [np.ones((4, 4))]}, signature, schema)


def test_media_of_ones_own():
    @media.register(Sketch)
    class SketchMedia(media.Media):
        expected = "a sketch"

        def from_value(self, value):
            return value.tobytes() if isinstance(value, np.ndarray) else None

    signature, schema = {"x": ("string", (None,))}, {"inputs": {"x": {"kind": "Sketch"}}}
    assert sent({"x": [np.zeros(2, "uint8")]}, signature, schema)["x"].tolist() == [b"\0\0"]
    with pytest.raises(InputError, match="row 0: 'x': expected a sketch, received int '3'"):
        sent({"x": [3]}, signature, schema)


def test_several_files_a_row(tmp_path):
    (tmp_path / "a.png").write_bytes(b"png")
    schema = {"inputs": {"x": {"kind": "Views", "height": 4, "width": 4}}}
    signature = {"x": ("string", (None, 2))}
    rows = [{"front": str(tmp_path / "a.png"), "back": None}, {"front": b"raw", "back": tmp_path / "a.png"}]
    for given in (rows, {"x": [[row["front"], row["back"]] for row in rows]}, {"x": rows}):
        assert sent(given, signature, schema)["x"].tolist() == [[b"png", ""], [b"raw", b"png"]]


def test_a_kind_that_is_not_known_here():
    inputs.INPUTS.pop("Cloud")
    try:
        with pytest.raises(InputError, match=r"'cloud': unknown kind 'Cloud'; .*Known: Audio, Image"):
            load_schema({"inputs": {"cloud": {"kind": "Cloud", "points": 5}}})
    finally:
        inputs.INPUTS["Cloud"] = Cloud


def test_targets_need_not_be_known():
    found = load_schema({"inputs": {"x": {"kind": "Sketch"}}, "targets": {"grade": {"kind": "Nobody knows"}}})
    assert found == {"x": Sketch()}
