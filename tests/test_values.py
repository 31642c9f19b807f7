"""The values of a table: lists as labels, one value in several spellings."""

import json
import unicodedata

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import mmkeras as mk
from mmkeras import spelling
from mmkeras.decode.spelling import characters_of, composed, keys
from mmkeras.errors import InputError

TEXT = {"t": mk.Text(4)}


def read(values, target, **options):
    frame = pd.DataFrame({"t": ["a"] * len(values), "y": pd.Series(values)})
    return mk.read(frame, mk.Schema(TEXT, {"y": target}), **options)


def fitted(values, target):
    return read(values, target).fit().schema.targets["y"]


LISTS = {
    "lists": [["cat", "red"], ["red"], []],
    "tuples": [("cat", "red"), ("red",), ()],
    "sets": [{"cat", "red"}, {"red"}, set()],
    "frozen sets": [frozenset(["cat", "red"]), frozenset(["red"]), frozenset()],
    "arrays": [np.array(["cat", "red"]), np.array(["red"], object), np.array([])],
    "series": [pd.Series(["cat", "red"]), pd.Series(["red"]), pd.Series([], dtype=object)],
    "text by JSON": ['["cat", "red"]', '["red"]', "[]"],
    "text by Python": ["['cat', 'red']", "('red',)", "[]"],
    "blanks": [[" cat", "red "], [" red"], []],
    "and text": ["cat|red", ["red"], "|"],
}


@pytest.mark.parametrize("values", LISTS.values(), ids=LISTS)
def test_lists_are_several_labels(values):
    records = read(values, mk.Labels()).fit()
    target = records.schema.targets["y"]
    assert target.classes == ("cat", "red")
    truth, good = target.encode(records.values("y"))
    assert truth.tolist() == [[1, 1], [0, 1], [0, 0]]
    assert good.all()


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_lists_in_files(format, tmp_path):
    frame = pd.DataFrame({"t": ["a", "b", "c", "d"], "y": [["cat", "red"], ["red"], [], None]})
    path = tmp_path / f"table.{format}"
    frame.to_json(path, orient="records", lines=True) if format == "jsonl" else frame.to_parquet(path)
    records = mk.read(path, mk.Schema(TEXT, {"y": mk.Labels(optional=True)})).fit()
    assert records.schema.targets["y"].classes == ("cat", "red")
    assert records.there("y").tolist() == [True, True, True, False]  # [] is none of them, null is missing
    assert mk.batches(records, 4).unbatch().as_numpy_iterator().next()[1].tolist() == [1, 1]


def test_numbers_and_truth_values_in_lists():
    assert fitted([[1, 2], [2.0, 10]], mk.Labels()).classes == ("1", "2", "10")
    assert fitted([np.array([1, 2]), np.array([], int)], mk.Labels()).classes == ("1", "2")
    assert fitted([[True], [False, True]], mk.Labels()).classes == ("False", "True")
    assert fitted([["a|b", "c"]], mk.Labels(separator=";")).classes == ("a|b", "c")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (["cat", None], "found None in it: leave it out"),
        (["cat", float("nan")], "found nan in it"),
        (["cat", ""], "found '' in it"),
        ([["cat"], ["red"]], "found \\['cat'\\] in it"),
        ([{"cat": 1}], "found {'cat': 1} in it"),
        ([b"cat"], "found b'cat' in it"),
        ({"cat": 1}, "expected one value, found a dict"),
        (["a|b"], "expected labels without the separator '|', found 'a|b'".replace("|", "\\|")),
        ("['cat' 'red']", "an array as NumPy prints it"),
        (b"cat", "found a bytes: decode it to text"),
        (object(), "found an object"),
    ],
)
def test_values_that_are_no_labels(value, said):
    with pytest.raises(InputError, match=f"DataFrame row 1: 'y': .*{said}"):
        read(["cat|red", value], mk.Labels())


@pytest.mark.parametrize("kind", ["Category", "Number", "Text", "Tabular number", "Tabular word"])
@pytest.mark.parametrize(
    "value", [["a", "b"], {"a": 1}, ("a",), {"a"}, np.array([1, 2])], ids=lambda v: type(v).__name__
)
def test_one_value_is_expected(kind, value):
    other = {"Number": "2", "Tabular number": "2"}.get(kind, "cat")
    frame = pd.DataFrame({"x": pd.Series([other, value]), "t": ["a", "b"], "n": ["1", "2"]})
    inputs = {
        "Text": {"x": mk.Text(4)},
        "Tabular number": {"i": mk.Tabular(numeric=["x", "n"])},
        "Tabular word": {"i": mk.Tabular(numeric=["n"], categorical=["x"])},
    }.get(kind, TEXT)
    targets = {"Category": {"x": mk.Category()}, "Number": {"x": mk.Number()}}.get(kind, {})
    with pytest.raises(InputError, match="DataFrame row 1: 'x': expected one value, found a"):
        mk.read(frame, mk.Schema(inputs, targets))


def test_values_that_are_none_follow_on_bad():
    with pytest.warns(UserWarning, match="1 of 20 rows left out"):
        records = read(["cat"] * 19 + [{"cat": 1}], mk.Category(), on_bad="drop")
    assert len(records) == 19
    assert records.ledger["value"].tolist() == ["{'cat': 1}"]


ONE = {
    "zeros behind the point": (["1.0", "2.0", "2", "10.0"], ("1", "2", "10"), {"1": 0, "1.00": 0, "10": 2, "02": None}),
    "halves": ([0.5, 1.0, 1.5], ("0.5", "1.0", "1.5"), {"1": 1, "0.5": 0, "1.50": None}),
    "versions": (["1", "1.0", "1.5"], ("1", "1.0", "1.5"), {"1": 0, "1.0": 1, "1.00": None}),
    "codes": (["007", "7"], ("007", "7"), {"7": 1, "007": 0, "7.0": None}),
    "truth values": (
        ["True", "true", "1", "FALSE", 0.0],
        ("False", "True"),
        {"TRUE": 1, "0": 0, "1.0": 1, "yes": None},
    ),
    "zeros and ones": ([0, 1], ("0", "1"), {"True": 1, "false": 0, "1.0": 1, "2": None}),
    "words and truth": (["True", "1", "maybe"], ("1", "True", "maybe"), {"true": None, "1": 0}),
    "blanks": ([" cat", "cat", "dog\u3000", "dog"], ("cat", "dog"), {"cat\t": 0, "\u00a0dog": 1, "Cat": None}),
    "Unicode": (
        ["caf\u00e9", "cafe\u0301", "\u212b", "\uac00"],
        ("caf\u00e9", "\u00c5", "\uac00"),
        {"\u1100\u1161": 2},
    ),
}


@pytest.mark.parametrize(("values", "classes", "later"), ONE.values(), ids=ONE)
def test_one_value_in_several_spellings(values, classes, later):
    category = fitted(values, mk.Category())
    assert category.classes == classes
    numbers, good = category.encode(list(later))
    assert {
        cell: int(number) if fine else None for cell, number, fine in zip(later, numbers, good, strict=True)
    } == later
    labels = fitted([str(value) for value in values], mk.Labels())
    assert labels.classes == classes
    truth, good = labels.encode(list(later))
    assert {
        cell: int(row.argmax()) if fine else None for cell, row, fine in zip(later, truth, good, strict=True)
    } == later
    # the input's column has the same words, in the order of their frequency, and reads them alike
    frame = pd.DataFrame({"x": pd.Series(values).astype(object), "n": 1.0})
    feature = mk.Tabular(numeric=["n"], categorical=["x"])
    feature = mk.read(frame, mk.Schema({"i": feature}, {})).fit().schema.inputs["i"]
    assert sorted(feature.vocabularies[0]) == sorted(classes)
    decoded = mk.decode.decoder(feature)(np.array([["1", cell] for cell in later])).values[:, -1].numpy()
    expected = [1 if at is None else 2 + feature.vocabularies[0].index(classes[at]) for at in later.values()]
    assert decoded.tolist() == expected
    schema = mk.Schema({"i": feature}, {"c": category, "l": labels})
    assert mk.Schema.from_json(schema.to_json()) == schema


def test_the_graph_spells_as_python_does():
    words = [
        " a",
        "\x1fa\x85",
        "1.0",
        "-1.00 ",
        "1.",
        "0.0",
        "TRUE",
        "tRue\n",
        "fAlse",
        "1.50",
        "caf\u0065\u0301",
        "\u3000",
    ]
    words += [
        "e\u0302\u0301",
        "\u00ea\u0301",
        "a\u0302\u0323",
        "a\u0323\u0302",
        "\u30ab\u3099",
        "\u1112\u1161\u11ab",
        "",
    ]
    known = characters_of(spelling.clean(word) for word in words)
    for one in spelling.SPELLINGS:
        kept = [word.decode() for word in keys(words, one, known).numpy()]
        expected = [spelling.key(word, one) for word in words]
        assert [unicodedata.normalize("NFC", word) for word in kept] == expected
    assert [word.decode() for word in composed(words, known).numpy()] == [
        unicodedata.normalize("NFC", w) for w in words
    ]


def test_older_schemas_are_read():
    schema = mk.Schema({"i": mk.Tabular(["n"], ["c"], [0], [1], [["1", "2"]])}, {"y": mk.Category(["0", "1"])})
    content = json.loads(schema.to_json())
    assert content["inputs"]["i"].pop("spellings") == ["number"]
    assert content["targets"]["y"].pop("spelling") == "truth"
    assert mk.Schema.from_json(json.dumps(content)) == schema


def test_spellings_that_are_given():
    assert fitted(["1.0", "1", "2"], mk.Category(spelling="text")).classes == ("1", "1.0", "2")
    assert mk.Category(["1", "1.0"]).spelling == "text"
    with pytest.raises(InputError, match=r"received '1' and '1.0', which are one"):
        mk.Category(["1", "1.0"], spelling="number")
    with pytest.raises(InputError, match="received ' cat' and 'cat', which are one"):
        mk.Category([" cat", "cat"])
    with pytest.raises(InputError, match="unknown spelling 'numbers'; did you mean 'number'"):
        mk.Labels(spelling="numbers")
    with pytest.raises(InputError, match="expected spellings to be a list of one for each of"):
        mk.Tabular(["n"], ["c"], spellings="text")


def test_texts_in_either_form_of_unicode():
    texts = ["un caf\u00e9", "un cafe\u0301", "UN CAFE\u0301", "\u1112\u1161\u11ab \uad6d"]
    frame = pd.DataFrame({"t": texts, "y": list("abab")})
    schema = mk.read(frame, mk.Schema(TEXT, {"y": mk.Category()})).fit().schema
    assert schema.inputs["t"].vocabulary == ("caf\u00e9", "un", "\uad6d", "\ud55c")
    ids = mk.decode.decoder(schema.inputs["t"])(np.array([*texts, "\ud55c \uad6d"])).values.numpy()
    assert ids.tolist() == [[3, 2, 0, 0]] * 3 + [[5, 4, 0, 0]] * 2


def test_floats_as_one_writes_them():
    frame = pd.DataFrame({"x": np.array([0.1, 0.2], np.float32), "t": "a", "y": pd.to_datetime(["2020-01-01", None])})
    schema = mk.Schema(TEXT | {"x": mk.Tabular(["x"])}, {"y": mk.Category(optional=True)})
    records = mk.read(frame, schema)
    assert records.values("x").ravel().tolist() == ["0.1", "0.2"]
    assert records.values("y").tolist() == ["2020-01-01", ""]


def test_a_cell_of_blanks_is_empty():
    frame = pd.DataFrame({"n": ["1", " "], "c": ["\t", "a"], "y": ["no", "  "], "t": "a"})
    records = mk.read(frame, mk.Schema({"i": mk.Tabular(["n"], ["c"])}, {"y": mk.Category(optional=True)}))
    assert records.values("i").tolist() == [["1", ""], ["", "a"]]
    assert records.there("y").tolist() == [True, False]


# Numbers that float32 cannot tell apart

SECONDS = 1_700_000_000 + 10 * np.arange(40)
COLLAPSED = {
    "seconds": SECONDS,
    "seconds with a fraction": SECONDS + 0.25,
    "seconds, many": 1_700_000_000 + 10 * np.arange(20_000),
    "milliseconds": 1000 * SECONDS,
    "nanoseconds": 10**9 * SECONDS,
    "identifiers of 17 digits": 12345678901234567 + np.arange(40),
    "identifiers as text": [str(9_876_543_210 + i) for i in range(40)],
    "two lots of identifiers": np.r_[10**9 + np.arange(20), 9 * 10**9 + np.arange(20)],
    "with a hole": [None, *(float(i) for i in SECONDS[1:])],
}
FINE = {
    "ordinary floats": np.random.default_rng(0).random(20_000),
    "with an offset": 1000 + np.random.default_rng(0).normal(size=20_000),
    "of many sizes": np.exp(3 * np.random.default_rng(0).normal(size=20_000)),
    "sums": [0.1 + 0.2, 0.3, 0.1, 0.1 + 1e-12, 7],
    "a year of seconds, some rows": 1_700_000_000 + 3600 * np.arange(8000),
    "constant": [1_700_000_001] * 5,
    "exact": [2**30, 2**40, 0],
    "amounts": (10 ** np.random.default_rng(0).uniform(0, 9, 5000)).astype(int),
}


def table_of(values):
    return pd.DataFrame({"x": pd.Series(values), "t": "a"})


@pytest.mark.parametrize("values", COLLAPSED.values(), ids=COLLAPSED)
def test_numbers_that_float32_cannot_tell_apart(values):
    with pytest.raises(InputError, match=r"'x': expected numbers that float32 can tell apart, .*: subtract a constant"):
        mk.read(table_of(values), mk.Schema({"i": mk.Tabular(["x"], optional=True)}, {}))
    with pytest.raises(
        InputError, match=r"'x': Number: expected numbers that float32 can tell apart|subtract a constant"
    ):
        mk.read(table_of(values), mk.Schema(TEXT, {"x": mk.Number(optional=True)})).fit()


@pytest.mark.parametrize("values", FINE.values(), ids=FINE)
def test_numbers_that_float32_can_tell_apart(values):
    mk.read(table_of(values), mk.Schema({"i": mk.Tabular(["x"])}, {})).fit()


def test_numbers_of_later_tables():
    schema = mk.Schema({"i": mk.Tabular(["x"], means=[500.0], std=[10.0], vocabularies=[])}, {})
    mk.read(table_of([1e6, 0.1]), schema)
    with pytest.raises(InputError, match=r"row 1: 'x': .* with a standard deviation of 10: subtract .*: '1700000010'"):
        mk.read(table_of([1, 1_700_000_010]), schema)
    decoded = mk.decode.decoder(schema.inputs["i"])(np.array([["1700000010"], ["1e6"], [""]]))
    assert decoded.status.numpy().tolist() == [1, 0, 0]
    assert decoded.values.numpy().tolist() == [[0, 0], [1e6, 1], [0, 0]]


@pytest.mark.parametrize("target", [False, True])
def test_dates_are_no_numbers(target):
    frame = pd.DataFrame({"x": pd.date_range("2024-01-01", periods=4), "t": "a"})
    schema = mk.Schema(TEXT, {"x": mk.Number()}) if target else mk.Schema({"i": mk.Tabular(["x"])}, {})
    with pytest.raises(
        InputError, match=r"expected a finite number: of a date the time since a first one, as \(column"
    ):
        mk.read(frame, schema)
    frame["x"] -= frame["x"].min()
    with pytest.raises(InputError, match=r"expected a finite number: of a duration its seconds"):
        mk.read(frame, schema)
    frame["x"] = frame["x"].dt.total_seconds()
    mk.read(frame, schema).fit()


@pytest.mark.parametrize("kind", ["npy", "csv", "int64"])
def test_series_that_float32_cannot_tell_apart(kind, tmp_path):
    values = np.stack([np.sin(np.arange(40)), SECONDS], axis=1)
    path = tmp_path / f"a.{'csv' if kind == 'csv' else 'npy'}"
    np.savetxt(path, values, delimiter=",") if kind == "csv" else np.save(path, values)
    if kind == "int64":
        np.save(path, values.astype(np.int64))
    frame = pd.DataFrame({"s": [str(path)], "t": "a"})
    schema = mk.Schema({"s": mk.Series(40, 2, means=[0, 0], std=[1, 1])}, {})
    said = "40 different numbers become 4: those around 1700000200 are rounded to multiples of 128 in channel 1"
    with pytest.raises(InputError, match=f"row 0: 's': expected numbers that float32 can tell apart, {said}"):
        mk.read(frame, schema, check="decode")


def test_series_that_differ_from_file_to_file_alone(tmp_path):
    for number in range(30):
        np.save(tmp_path / f"{number}.npy", np.stack([np.arange(5), np.full(5, SECONDS[number])], axis=1))
    frame = pd.DataFrame({"s": [str(tmp_path / f"{number}.npy") for number in range(30)]})
    with pytest.raises(InputError, match=r"apart, 30 different numbers become 3: .* in channel 1: subtract a constant"):
        mk.read(frame, mk.Schema({"s": mk.Series(5, 2)}, {})).fit()
    np.save(tmp_path / "0.npy", np.stack([np.arange(5), np.full(5, 1_700_000_001)], axis=1))
    mk.read(frame[:1], mk.Schema({"s": mk.Series(5, 2)}, {})).fit()  # constant: nothing is lost


# Values that a model does not know


def of_texts(texts, vocabulary=None):
    return mk.Schema({"t": mk.Text(8, vocabulary)}, {})


STRANGE = {
    "unknown": (["a zebra ran", "zebra"], "75.0% of the words are outside the vocabulary of 2, as 'zebra'"),
    "Chinese": (
        ["今天天气很好", "我们去公园"],
        "100.0% of the texts have no spaces between words: the tokenizer 'words' makes",
    ),
    "Thai": (["สวัสดีครับ", "วันนี้อากาศดี"], "100.0% of the words are outside the vocabulary of 2, as '"),
    "emoji alone": (["😀", "😡"], "100.0% of the words are outside the vocabulary of 2, as '😀'"),
    "emoji": (["a 😀", "b 😡"], "100.0% of the texts hold symbols that the tokenizer leaves out, as 😀"),
    "languages": (["a c++", "b c#"], r"100.0% of the texts hold symbols that the tokenizer leaves out, as \+"),
}


@pytest.mark.parametrize(("texts", "said"), STRANGE.values(), ids=STRANGE)
def test_texts_that_a_model_does_not_know(texts, said):
    with pytest.warns(UserWarning, match=f"DataFrame: 't': {said}"):
        records = mk.read(pd.DataFrame({"t": texts}), of_texts(texts, ["a", "b"]))
    with pytest.warns(UserWarning, match=f"DataFrame: 't': {said}"):
        mk.batches(records, 2)


@pytest.mark.parametrize("name", ["Chinese", "emoji", "languages"])
def test_texts_that_lose_something_when_they_are_fitted(name):
    texts, _ = STRANGE[name]
    with pytest.warns(UserWarning, match=r"have no spaces|hold symbols"):
        mk.read(pd.DataFrame({"t": texts}), of_texts(texts)).fit()


@pytest.mark.filterwarnings("error")
def test_texts_that_a_model_knows():
    texts = ["It's a cat, isn't it?", "A dog (3 years) & a cat: 5 $!", "今天 天气 很好", "naïve café"]
    records = mk.read(pd.DataFrame({"t": texts}), of_texts(texts)).fit()
    mk.read(pd.DataFrame({"t": [*texts, "two unknown words of many: a cat, it isn't a dog"]}), records.schema)


def test_words_of_cells_that_a_model_does_not_know():
    schema = mk.Schema({"i": mk.Tabular(["n"], ["code"], [0], [1], [["a", "b"]])}, {})
    with pytest.warns(UserWarning, match=r"'code': 66.7% of the words are outside the vocabulary of 2, as 'x'"):
        mk.read(pd.DataFrame({"n": 1.0, "code": ["a", "x", "y"]}), schema)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A model of texts and cells, fitted on codes that pandas wrote as floats, and its bundle's signature."""
    frame = pd.DataFrame(
        {"t": ["un caf\u00e9", "deux"] * 8, "n": range(16), "code": ["1.0", "2.0"] * 8, "y": list("ab") * 8}
    )
    schema = mk.Schema(TEXT | {"i": mk.Tabular(["n"], ["code"])}, {"y": mk.Category()})
    records = mk.read(frame, schema).fit()
    model = mk.build(records.schema, width=8)
    model.compile(**mk.compile_args(records.schema))
    path = mk.export(model, records.schema, tmp_path_factory.mktemp("models") / "words", records=records)
    return model, records, tf.saved_model.load(str(path)).signatures["serving_default"]


def ask(served, texts, cells):
    found = served[2](t=tf.constant(texts), i=tf.constant(cells))
    return {name: value.numpy() for name, value in found.items()}


def test_the_served_graph_spells_as_training_does(served):
    expected = ask(served, ["un caf\u00e9"] * 2, [["3", "1"]] * 2)
    found = ask(served, ["UN CAFE\u0301 ", "un caf\u00e9"], [["3", " 1.0 "], ["3.0", "1.00"]])
    np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=1e-6)
    assert not any(found[name].any() for name in ("status", "t_status", "i_status"))


def test_the_served_graph_tells_what_it_does_not_know(served):
    texts = ["un caf\u00e9", "zebra crossing", "😀", "deux zebra", "deux", "deux", ""]
    cells = [["3", "1"]] * 4 + [["3", "7"], ["1700000010", "1"], ["3", "1"]]
    found = ask(served, texts, cells)
    assert found["t_status"].tolist() == [0, 5, 5, 0, 0, 0, 2]
    assert found["i_status"].tolist() == [0, 0, 0, 0, 5, 1, 0]
    assert found["status"].tolist() == [0, 0, 0, 0, 0, 1, 2]
    assert (found["score"] > 0).tolist() == [True] * 5 + [False] * 2


def test_predict_and_evaluate_warn(served):
    model, records, _ = served
    frame = pd.DataFrame({"t": ["zebra"] * 3, "n": 1.0, "code": [7, 8, 9], "y": list("aba")})
    with pytest.warns(UserWarning, match="'t': 100.0% of the words"):
        strange = mk.read(frame, records.schema)
    for use in (mk.predict, mk.evaluate, mk.predict):
        with pytest.warns(UserWarning, match="outside the vocabulary") as said:
            use(model, strange)
        assert {str(one.message)[:60] for one in said} >= {
            "DataFrame: 't': 100.0% of the words are outside the vocabulary"[:60],
            "DataFrame: 'code': 100.0% of the words are outside the vocabulary"[:60],
        }


def test_describe_points_at_near_twins():
    frame = pd.DataFrame(
        {"t": ["c++", "a", "今天天气很好", "b"], "y": ["cat", " cat", "Cat", "dog"], "code": ["1.0", "1", "x", "X "]}
    )
    schema = mk.Schema(TEXT | {"i": mk.Tabular([], ["code"])}, {"y": mk.Category()})
    records = mk.read(frame, schema)
    for found in (records.describe(), records.fit().describe()):
        said = str(found)
        assert "3 classes; most frequent 'cat', 50.0%" in said
        assert "near twins (= is one class): 'cat' = ' cat', 'Cat'\n" in said
        assert "'cat'  2   50.0%" in said
        assert found.tables["y"]["written"].tolist() == [("cat", " cat"), ("Cat",), ("dog",)]
        assert "near twins (= is one word): '1.0', '1'; 'x', 'X '" in said
        assert "with symbols that no word holds: 25.0% of the texts" in said
        assert "without spaces between words: 25.0% of the texts" in said
    labels = mk.Schema(TEXT, {"y": mk.Labels()})
    said = str(mk.read(frame.assign(y=["1.0|2", "1", "2", "3"]), labels).describe())
    assert "near twins (= is one class): '1.0' = '1'" in said


def test_splits_and_class_weights_in_any_spelling():
    frame = pd.DataFrame({"t": "a", "y": [1.0, 0.0, 1.0, 0.0], "part": ["train ", "train", "train", "val"]})
    data = mk.read(frame, mk.Schema(TEXT, {"y": mk.Category()})).split("part")
    assert {name: len(part) for name, part in data.items()} == {"train": 3, "val": 1}
    for weights in ({"1": 3}, {1.0: 3}, {True: 3}):
        batch = next(iter(mk.batches(data["train"], 3, training=True, class_weight=weights)))
        assert sorted(batch[2].numpy().tolist()) == [1, 3, 3]
