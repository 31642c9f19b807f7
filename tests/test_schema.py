import dataclasses
import json
import re

import numpy as np
import pytest

from mmkeras.errors import InputError
from mmkeras.schema import Audio, Category, Image, Number, Schema, Text


def full():
    """Every kind of part with every field other than its default, and words in several scripts."""
    return Schema(
        inputs={
            "z": Image(2, 3, channels=1, column="the picture"),
            "a": Text(4, vocabulary=["élodie", "你好", 'quo"te', "🙂"], limit=9, column="Frage"),
            "m": Audio(8000, 0.25, column="sound"),
        },
        targets={"y": Category(["10", "ja", "naïve"], column="Antwort"), "b": Category(["1", "2"])},
    )


def small(inputs=None, targets=None):
    return Schema(
        inputs={"q": Text(3)} if inputs is None else inputs, targets={"a": Category()} if targets is None else targets
    )


def test_json_round_trip(tmp_path):
    full().save(tmp_path / "schema.json")
    assert Schema.load(tmp_path / "schema.json") == Schema.load(str(tmp_path / "schema.json")) == full()
    assert "你好" in (tmp_path / "schema.json").read_text(encoding="utf-8")  # to be read by people, too
    assert json.loads(full().to_json())["format"] == 1


def test_json_round_trip_of_an_unfitted_schema():
    assert Schema.from_json(small().to_json()) == small()
    assert Schema.from_json(small().to_json()).unfitted == ["q", "a"]


def test_order_is_kept():
    schema = Schema.from_json(full().to_json())
    assert list(schema.inputs) == ["z", "a", "m"]
    assert list(schema.targets) == ["y", "b"]
    assert list(schema.parts) == ["z", "a", "m", "y", "b"]
    assert [schema.column(name) for name in schema.parts] == ["the picture", "Frage", "sound", "Antwort", "b"]
    assert schema.parts["a"].vocabulary == ("élodie", "你好", 'quo"te', "🙂")


def test_shapes_of_the_parts():
    inputs = full().inputs
    assert [part.shape for part in inputs.values()] == [(2, 3, 1), (4,), (2000,)]
    assert [part.dtype for part in inputs.values()] == ["uint8", "int32", "float32"]
    assert inputs["a"].tokens == 6


PART = '{"format": 1, "inputs": {"q": %s}, "targets": {"a": {"kind": "Category"}}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("junk", "expected the JSON of a schema, received 'junk'"),
        ("[1]", "expected the JSON of a schema, received '[1]'"),
        ("null", "expected the JSON of a schema, received 'null'"),
        ("{}", "expected the JSON of a schema, received '{}' ('format')"),
        ('{"format": 2}', "expected format 1, received 2"),
        ('{"format": 1, "inputs": {}, "targets": {}}', "expected inputs to be a dict with at least one entry"),
        (PART % '{"kind": "Txt", "length": 3}', "'q': unknown kind 'Txt'; did you mean 'Text'? Known: Audio, Image, S"),
        (
            PART % '{"kind": "Category"}',
            "'q': unknown kind 'Category'; Known: Audio, Image, Series, Tabular, Text, Video",
        ),
        (PART % '{"length": 3}', "'q': expected a dict of 'kind' and options, received "),
        (PART % '{"kind": "Text", "length": 0}', "Text: expected length to be a whole number above 0, received 0"),
        (PART % '{"kind": "Text", "lenght": 3}', "did you mean 'length'?"),
        (PART % '"Text"', "'q': expected a dict of 'kind' and options, received "),
        (PART % "7", "'q': expected a dict of 'kind' and options, received "),
    ],
)
def test_json_of_something_else(tmp_path, text, message):
    (tmp_path / "schema.json").write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        Schema.load(tmp_path / "schema.json")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"Schema: cannot read '.*no\.json': .*No such file"):
        Schema.load(tmp_path / "no.json")
    with pytest.raises(InputError, match=r"Schema: cannot read .*: .*Is a directory"):
        Schema.load(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"Schema: cannot read .*binary.*utf-8"):
        Schema.load(tmp_path / "binary")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "1a",
        "_a",
        "a.b",
        "ä",
        "a\n",
        3,
        "a_present",
        "a_length",
        "a_index",
        "a_tower",
        "a_status",
        "alignment",
    ],
)
@pytest.mark.parametrize("role", ["inputs", "targets"])
def test_names_that_cannot_be(role, name):
    part = Text(3) if role == "inputs" else Category()
    message = f"expected names of letters, digits and _ .*column=.*received {re.escape(repr(name))} in {role}"
    with pytest.raises(InputError, match=message):
        small(**{role: {name: part}})


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"inputs": {}}, "expected inputs to be a dict with at least one entry, received {}"),
        ({"targets": [Category()]}, "expected targets to be a dict with at least one entry, received [Category("),
        ({"inputs": [Text(3)]}, "expected inputs to be a dict with at least one entry, received [Text"),
        (
            {"inputs": {"q": Text}},
            "expected inputs['q'] to be one of Image, Audio, Text, Series, Tabular, Video, rec",
        ),
        (
            {"inputs": {"q": Category()}},
            "expected inputs['q'] to be one of Image, Audio, Text, Series, Tabular, Vid",
        ),
        ({"targets": {"a": Text(3)}}, "expected targets['a'] to be one of Category, Labels, Number, received Text("),
        ({"targets": {"q": Category()}}, "expected different names for inputs and targets, received 'q' in both"),
    ],
)
def test_parts_that_cannot_be(parts, message):
    with pytest.raises(InputError, match=re.escape("Schema: " + message)):
        small(**parts)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Image(0, 8), "Image: expected height to be a whole number above 0, received 0"),
        (lambda: Image(8, 8.0), "Image: expected width to be a whole number above 0, received 8.0"),
        (lambda: Image(8, "8"), "Image: expected width to be a whole number above 0, received '8'"),
        (lambda: Image(True, 8), "Image: expected height to be a whole number above 0, received True"),
        (lambda: Image(8, 8, 4), "Image: expected channels to be 1 or 3, received 4"),
        (lambda: Audio(8000.5, 1), "Audio: expected sampling_rate to be a whole number above 0, received 8000.5"),
        (lambda: Audio(8000, -1), "Audio: expected seconds to be a number above 0, received -1"),
        (lambda: Audio(8000, float("nan")), "Audio: expected seconds to be a number above 0, received nan"),
        (lambda: Audio(8000, float("inf")), "Audio: expected seconds to be"),
        (lambda: Audio(8, 0.01), "Audio: 0.01 s at 8 Hz is less than one sample"),
        (lambda: Text(3, limit=0), "Text: expected limit to be a whole number above 0, received 0"),
        (lambda: Text(3, vocabulary=[]), "Text: expected at least one word in vocabulary, received none"),
        (lambda: Text(3, vocabulary="cat"), "Text: expected vocabulary to be a list of strings, received 'c"),
        (lambda: Text(3, vocabulary=["a", "b", "a"]), "Text: expected distinct vocabulary, received 'a' more than o"),
        (lambda: Text(3, vocabulary=["a", ""]), "Text: expected"),
        (lambda: Text(3, vocabulary=["[UNK]", "a"]), "Text: expected"),
        (lambda: Category("cat"), "Category: expected classes to be a list of strings, received 'ca"),
        (lambda: Category(["1", "2", 1]), "Category: expected distinct classes, received '1' more than once"),
        (lambda: Category(["yes"]), "Category: expected at least 2 classes, received ['yes']"),
        (lambda: Category(5), "Category: expected classes to be a list of strings, received 5"),
    ],
)
def test_fields_that_cannot_be(make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make()


def test_numbers_from_numpy_are_numbers():
    assert Image(np.int64(8), np.int32(4)) == Image(8, 4)
    assert Audio(np.int64(8000), np.float32(0.5)).samples == 4000


def test_text_fit_takes_frequent_words_first_then_by_spelling():
    words = ["b", "c", "a", "c", "é", "z", "b"]
    assert Text(3).fit(words).vocabulary == ("b", "c", "a", "z", "é")
    assert Text(3, limit=3).fit(iter(words)).vocabulary == ("b", "c", "a")
    assert Text(3, limit=3, column="q").fit(words) == Text(3, ("b", "c", "a"), limit=3, column="q")


def test_category_fit_orders_numbers_by_value_then_words():
    labels = ["10", "b", "9", "-1", "B", "1.5", "9", "nan", "a", "b"]
    assert Category().fit(labels).classes == ("-1", "1.5", "9", "10", "B", "a", "b", "nan")
    assert Category(column="x").fit(np.array(labels)).classes == Category(column="x").fit(labels[::-1]).classes


@pytest.mark.parametrize(
    ("part", "field"),
    [(Image(2, 2), "height"), (Audio(8, 1), "rate"), (Text(3), "limit"), (Category(), "classes"), (full(), "inputs")],
)
def test_frozen(part, field):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(part, field, 7)


def test_a_schema_does_not_share_the_dict_it_was_given():
    inputs = {"q": Text(3)}
    schema = small(inputs=inputs)
    inputs["more"] = Text(3)
    assert list(schema.inputs) == ["q"]


def test_fit_returns_a_new_value_and_leaves_what_was_given():
    given = small(inputs={"q": Text(3), "r": Text(2, vocabulary=["kept"])})
    fitted = given.fit({"q": ["a", "b", "b"], "r": ["other"], "a": ["yes", "no"]})
    assert given.unfitted == ["q", "a"]
    assert fitted.fitted
    assert not given.fitted
    assert fitted.inputs == {"q": Text(3, ["b", "a"]), "r": Text(2, ["kept"])}
    assert fitted.targets == {"a": Category(["no", "yes"])}
    assert fitted.fit({"q": ["new"], "a": ["new", "newer"]}) == fitted


def test_require_fitted():
    full().require_fitted("decoding")
    message = r"decoding needs a fitted schema, .* classes or mean of 'q', 'a' are not known.*records\.fit\(\)\.schema"
    with pytest.raises(InputError, match=message):
        small().require_fitted("decoding")
    with pytest.raises(InputError, match=r"export needs a fitted schema, but the vocabulary, .* of 'a' are"):
        small(inputs={"i": Image(2, 2)}).require_fitted("export")


def test_targets_that_read_one_input():
    inputs = {"image": Image(4, 4), "note": Text(2)}
    schema = Schema(inputs, {"answer": Category(), "digit": Category(reads="image")})
    assert Schema.from_json(schema.to_json()) == schema
    with pytest.raises(InputError, match="Schema: 'digit': reads: unknown input 'imag'; did you mean 'image'"):
        Schema(inputs, {"answer": Category(), "digit": Category(reads="imag")})
    with pytest.raises(InputError, match=r"at least one target that reads the fused vector .* digit: reads='image'"):
        Schema(inputs, {"digit": Category(reads="image")})
    with pytest.raises(InputError, match=r"Number: expected reads to be the name of an input, .*received 3"):
        Number(reads=3)


@pytest.mark.parametrize("name", ["a_tokens", "a_tokens_mask", "a_grid0"])
def test_a_name_of_an_inputs_features_is_refused(name):
    text = Text(2, vocabulary=["x"])
    with pytest.raises(InputError, match=f"expected another name than '{name}' with the input 'a'"):
        Schema({"a": text, name: text}, {})
    assert Schema({"b": text, name: text}, {}).inputs[name] == text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Image(8, 8, optinal=True), "Image: unknown argument 'optinal'; did you mean 'optional'"),
        (lambda: Audio(rate=8000, seconds=1), "Audio: unknown argument 'rate'; Known: "),
        (lambda: Text(8, vocabluary=["a"]), "Text: unknown argument 'vocabluary'; did you mean 'vocabulary'"),
        (lambda: Category(clases=["a", "b"]), "Category: unknown argument 'clases'; did you mean 'classes'"),
    ],
)
def test_a_misspelt_field_is_refused_with_the_nearest(make, message):
    with pytest.raises(InputError, match=message):
        make()
