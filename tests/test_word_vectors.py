import json
import struct

import contracts
import keras
import numpy as np
import pytest

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.schema import Text
from mmkeras.towers import tower

VECTORS = {"the": [1, 2, 3], "cat": [3, 2, 1.5], "Élodie": [0.5, -1, 2e-3], "x": [9, 9, 9]}
WORDS = ["the", "élodie", "dog", "cat", "bird"]
KINDS = ("glove", "word2vec", "binary")


def spelt(vectors):
    return "".join(f"{word} {' '.join(map(str, values))}\n" for word, values in vectors.items())


def content(kind, vectors=VECTORS):
    """The bytes of a file, as GloVe and word2vec write them."""
    header = f"{len(vectors)} {len(next(iter(vectors.values())))}\n"
    if kind == "glove":
        return spelt(vectors).encode()
    if kind == "word2vec":
        return (header + spelt(vectors).replace("\n", " \n")).encode()
    rows = (word.encode() + b" " + np.array(values, "<f4").tobytes() + b"\n" for word, values in vectors.items())
    return header.encode() + b"".join(rows)


@pytest.fixture
def file(tmp_path):
    def write(data):
        path = tmp_path / "vectors"
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return str(path)

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_rows_stand_where_the_tokens_are(kind, file):
    read = mk.read_word_vectors(file(content(kind)), Text(5, vocabulary=WORDS))
    assert read.values.shape == (7, 3)
    assert read.values.dtype == np.float32
    expected = [[0, 0, 0], np.mean([[1, 2, 3], [0.5, -1, 0.002], [3, 2, 1.5]], axis=0), [1, 2, 3], [0.5, -1, 0.002]]
    np.testing.assert_allclose(read.values[:4], expected, rtol=1e-6)
    np.testing.assert_allclose(read.values[5], [3, 2, 1.5])
    assert read.found == ("the", "élodie", "cat")
    assert read.missing == ("dog", "bird")
    assert read.share == 0.6


def test_binary_without_line_ends(file):
    """gensim writes none behind the numbers, the first word2vec did."""
    data = b"2 2\n" + b"a " + struct.pack("<2f", 1, 2) + b"b " + struct.pack("<2f", 3, 4)
    np.testing.assert_array_equal(mk.read_word_vectors(file(data), ["b", "a"]).values[2:], [[3, 4], [1, 2]])


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_of_any_size(kind, file, monkeypatch):
    """The end of a piece may cut a word or a number."""
    random = np.random.default_rng(0)
    vectors = {f"word{number}": random.normal(size=7).tolist() for number in range(300)}
    path, words = file(content(kind, vectors)), list(vectors)[::-3]
    whole = mk.read_word_vectors(path, words)
    np.testing.assert_allclose(whole.values[2:], [vectors[word] for word in words], rtol=1e-6)
    for size in (13, 100, 1001):
        monkeypatch.setattr("mmkeras.word_vectors.CHUNK", size)
        np.testing.assert_array_equal(mk.read_word_vectors(path, words).values, whole.values)


def test_missing_words_are_like_the_others_and_always_the_same(file):
    random = np.random.default_rng(0)
    vectors = {f"w{number}": (random.normal(size=4) * [1, 2, 0.1, 5] + [3, 0, 0, -9]).tolist() for number in range(500)}
    words = [*vectors, *(f"v{number}" for number in range(500))]
    path = file(content("glove", vectors))
    values = mk.read_word_vectors(path, words).values
    missing = values[502:]
    np.testing.assert_allclose(missing.mean(axis=0), [3, 0, 0, -9], atol=0.6)
    np.testing.assert_allclose(missing.std(axis=0), [1, 2, 0.1, 5], rtol=0.15)
    assert len(np.unique(missing, axis=0)) == 500
    np.testing.assert_array_equal(mk.read_word_vectors(path, words).values, values)


def test_case_and_apostrophes(file):
    """The exact word, wherever it stands; without one, the first that is the same in lower case."""
    path = file("Hello 1 1\nHELLO 2 2\nSum 3 3\nsum 4 4\nSUM 5 5\ndon't 6 6\ndont 7 7\nWhat's 8 8\n")
    read = mk.read_word_vectors(path, ["hello", "sum", "dont", "whats"])
    np.testing.assert_array_equal(read.values[2:, 0], [1, 4, 7, 8])


def test_words_with_spaces_and_a_word_of_digits(file):
    read = mk.read_word_vectors(file(". . 1 2 3\nat name@domain.com 4 5 6\n2010 7 8 9\n\na 0 0 1e-3\n"), ["2010", "a"])
    np.testing.assert_allclose(read.values[2:], [[7, 8, 9], [0, 0, 1e-3]])


def test_only_the_vocabulary_is_kept(file, monkeypatch):
    parsed = []
    monkeypatch.setattr("mmkeras.word_vectors._spelt", lambda values, *_: parsed.append(values) or np.ones(3))
    mk.read_word_vectors(file(content("glove")), ["cat"])
    assert parsed == [b"3 2 1.5"]


def test_report(file):
    read = mk.read_word_vectors(file("a 1 2\n"), ["the", "a", *(f"w{number}" for number in range(1200))])
    assert repr(read) == (
        "WordVectors(1 of 1,202 words found (0.1%), 2 numbers each; missing, most frequent first: "
        "the, w0, w1, w2, w3, w4, w5, w6, w7, w8 and 1,191 more)"
    )
    assert (
        repr(mk.read_word_vectors(file("a 1 2\n"), ["a"])) == "WordVectors(1 of 1 words found (100.0%), 2 numbers each)"
    )


BINARY = content("binary")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("the 1 2 3\ncat 1 2\n", r"vectors line 2: expected a word and 3 numbers, found 2 numbers: b'cat 1 2'"),
        ("the 1 2 3\ndog 1 2 3\ncat 1 2 3 4\n", "line 3: expected a word and 3 numbers, found 4 numbers"),
        ("2 3\nthe 1 2 3\ncat 1 2 3 4\n", "line 3: expected a word and 3 numbers, found 4 numbers"),
        ("the 1 2 3\ncat 1 x 3\n", "line 2: expected numbers, received b'1 x 3'"),
        ("the 1 2 3\ncat 1 nan 3\n", "line 2: expected finite numbers, received nan"),
        ("3 2\nthe 1 2\ncat 3 4\n", "its header says 3 words, found 2"),
        ("the 1 2\ncat 3 4\nthe 1 2\n", "line 3: 'the' again, first at line 1"),
        (b"the 1 2\nca\xfft 3 4\n", r"line 2: the word b'ca\\xfft' is not UTF-8"),
        (BINARY[:-5], r"ends within word 4, byte \d+; its header says 4 words of 3 numbers"),
        (BINARY[:60], r"ends within word \d, byte 60; its header says 4 words"),
        (BINARY + BINARY, "goes on after the 4 words of 3 numbers"),
        (b"2 2\n" + 2 * (b"the " + struct.pack("<2f", 1, 2)), "word 2, byte 16: 'the' again, first at word 1, byte 4"),
        (b"1 2\nt\xfe " + struct.pack("<2f", 1, 2), r"word 1, byte 4: the word b't\\xfe' is not UTF-8"),
        (b"1 2\nthe " + struct.pack("<2f", 1, np.inf), "word 1, byte 4: expected finite numbers, received inf"),
        (b"1 2\n" + b"\1" * 20_000 + b" " + b"\1" * 8, r"byte 4: expected a word, received b'\\x01"),
        (b"", "expected a file of word vectors, GloVe text or word2vec .* begins with b''"),
        ("Once upon a time\nthere was\n", "expected a file of word vectors, .* begins with b'Once upon a time"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "expected a file of word vectors, .* begins with b'.x89PNG"),
        (b"\x1f\x8b\x08\0", "expected an unpacked file of word vectors, received gzip: unpack it first"),
        ("one 1 2\ntwo 3 4\n", "holds none of the 5 words of the vocabulary, as 'the', 'élodie', 'dog', 'cat', 'bird'"),
    ],
)
def test_refused(data, message, file):
    with pytest.raises(InputError, match=message):
        mk.read_word_vectors(file(data), WORDS)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (Text(3), "expected a fitted Text, received one without a vocabulary"),
        ("cat", "expected a fitted Text or a list of words, received 'cat'"),
        (["a", "a"], "vocabulary"),
        ([], "expected at least one word in vocabulary"),
    ],
)
def test_vocabulary_refused(vocabulary, message, file):
    with pytest.raises(InputError, match=message):
        mk.read_word_vectors(file(content("glove")), vocabulary)


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match=r"word vectors: no such file '.*missing\.txt'"):
        mk.read_word_vectors(tmp_path / "missing.txt", WORDS)


FEATURE = Text(5, vocabulary=WORDS)


def embedded(kind="bag", feature=FEATURE, **options):
    model = contracts.small_tower(kind, "question", feature=feature, **options)
    layers = {layer.name: layer for layer in model.layers}
    return model, layers.get("question_frozen") or layers["question_embedding"]


@pytest.mark.parametrize("kind", ["bag", "lstm", "gru", "conv1d", "transformer"])
def test_a_tower_begins_with_the_vectors(kind, file):
    path = file(content("binary"))
    read = mk.read_word_vectors(path, FEATURE)
    _, layer = embedded(kind, vectors=path)
    np.testing.assert_array_equal(layer.get_weights()[0], read.values)
    assert layer.trainable
    model, frozen = embedded(kind, vectors=path, train_vectors=False)
    x = np.array([[2, 3, 4, 0, 0]] * 32, "int32")
    contracts.gradients_reach_every_weight(model, x)
    np.testing.assert_array_equal(frozen.get_weights()[0], read.values)


def test_a_saved_model_needs_the_file_no_more(file, tmp_path):
    path = file(content("glove"))
    schema = mk.Schema(inputs={"question": FEATURE}, targets={"answer": mk.Category(classes=["a", "b"])})
    spec = mk.ModelSpec(towers={"question": {"kind": "bag", "vectors": path, "train_vectors": False}}, width=8)
    assert json.loads(spec.to_json())["towers"]["question"]["vectors"] == path
    model = mk.build(schema, mk.ModelSpec.from_json(spec.to_json()))
    (tmp_path / "vectors").unlink()
    contracts.round_trip_is_equal(model, np.array([[2, 3, 6, 0, 0]], "int32"), tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").get_layer("question_tower")
    assert not loaded.get_layer("question_frozen").trainable
    assert len((tmp_path / "model.keras").read_bytes()) < 200_000


def test_a_file_that_changes_is_read_again(file):
    feature = Text(5, vocabulary=["the"])
    first, second = (
        embedded(feature=feature, vectors=file(data))[1].get_weights()[0] for data in ("the 1 2\n", "the 3 4 5\n")
    )
    assert (first[2].tolist(), second[2].tolist()) == ([1, 2], [3, 4, 5])


def test_low_coverage_is_warned_of(file):
    path = file("the 1 2\n")
    with pytest.warns(UserWarning, match=r"'question': .*vectors holds few of its words: WordVectors\(1 of 5 words"):
        embedded(vectors=path)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("question", {"embedding": 64}, "'question': .* has vectors of 3 numbers, not 64"),
        ("question", {"vectors": 3}, "'question': expected vectors to be a path as a string, received 3"),
        ("question", {"vectors": None, "train_vectors": False}, "train_vectors to be False only with vectors"),
        ("question", {"train_vectors": "no"}, "'question': expected train_vectors to be .* received 'no'"),
        ("question", {"vectors": None, "embedding": 0}, "expected embedding to be a whole number above 0, received 0"),
        ("trace", {}, "'trace': option 'vectors' is for Text, 'trace' is Series"),
    ],
)
def test_options_refused(name, options, message, file):
    feature = FEATURE if name == "question" else contracts.FEATURES[name]
    choice = {"kind": "lstm", "vectors": file(content("glove")), **options}
    with pytest.raises(InputError, match=message):
        tower(feature, choice, width=8, name=name)
