"""Pre-trained word vectors from GloVe and word2vec files, for the words of one vocabulary."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mmkeras.checks import checked_keywords
from mmkeras.errors import InputError, shown
from mmkeras.inputs import Input, Text

CHUNK = 1 << 22  # bytes of a binary file read at a time
LONGEST = 10_000  # bytes of a word; more is not a word
TEXTUAL = frozenset(b"0123456789+-.eE \r\n\t")
PACKED = {b"\x1f\x8b": "gzip", b"PK": "zip", b"BZ": "bzip2", b"\xfd7": "xz"}
SHOWN = 10  # missing words that a report shows
APOSTROPHES = str.maketrans("", "", "'\u2019`")


@dataclass(frozen=True, eq=False, repr=False)
class WordVectors:
    """Vectors for a vocabulary, and how much of it the file covers.

    Attributes:
        values: `(tokens, numbers)`, float32, a row for each token id: 0 padding (zeros), 1 the unknown word (the mean
            of the vectors found), from 2 on the vocabulary. Words that the file lacks have random values with the
            mean and standard deviation of the vectors found (Kim, 2014), always the same ones.
        found: the words found, in the vocabulary's order.
        missing: the words not found, in the vocabulary's order: most frequent first, if the vocabulary was fitted.
    """

    values: np.ndarray
    found: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def share(self) -> float:
        """Share of the vocabulary that was found, 0 to 1."""
        return len(self.found) / (len(self.found) + len(self.missing))

    def __repr__(self) -> str:
        total = len(self.found) + len(self.missing)
        text = f"{len(self.found):,} of {total:,} words found ({self.share:.1%}), {self.values.shape[1]} numbers each"
        if self.missing:
            more = f" and {len(self.missing) - SHOWN:,} more" if len(self.missing) > SHOWN else ""
            text += f"; missing, most frequent first: {', '.join(self.missing[:SHOWN])}{more}"
        return f"WordVectors({text})"


@checked_keywords
def read_word_vectors(path: str | os.PathLike[str], vocabulary: Input | Iterable[str]) -> WordVectors:
    """Read the vectors of a vocabulary's words from a file of GloVe or word2vec.

    The file is read piece by piece, and only the vocabulary's rows are kept. A word that is not in the file gets the
    vector of the first (in most files: the most frequent) word that is the same in lower case and without apostrophes,
    as a `Text` is split: "Hello" for "hello", "don't" for "dont".

    Args:
        path: GloVe text ("word 0.1 0.2 ..." a line), word2vec text (the same below a header: how many words, how many
            numbers each; also fastText's .vec) or word2vec binary (the same header, then float32). Not compressed.
        vocabulary: fitted `Text`, or the words in the order of their token ids from 2 on.

    Returns:
        `WordVectors`.

    Raises:
        InputError: no such file, or not one of these kinds; a line with the wrong count of numbers, or with something
            else; a word that is not UTF-8; a word of the vocabulary twice; a file cut short; none of the words in it.
    """
    words = _words(vocabulary)
    path = Path(path)
    if not path.is_file():
        raise InputError(f"word vectors: no such file {str(path)!r}")
    collected = _Collected(words, path)
    with path.open("rb") as file:
        head = file.read(CHUNK)
        file.seek(0)
        header, first = _check_head(head, path)
        entries = _binary if header and not _is_text(first) else _text
        entries(file, header, collected)
    return collected.result()


def _words(vocabulary: Input | Iterable[str]) -> Sequence[str]:
    if not isinstance(vocabulary, Input | Iterable):
        hint = ': give one of its inputs, as schema.inputs["question"]' if hasattr(vocabulary, "inputs") else ""
        raise InputError(f"word vectors: expected a fitted Text or a list of words, received {shown(vocabulary)}{hint}")
    if isinstance(vocabulary, Input):
        if "" not in vocabulary.words:
            raise InputError("word vectors: expected a fitted Text, received one without a vocabulary")
        vocabulary = vocabulary.words[""]
    if isinstance(vocabulary, str):
        raise InputError(f"word vectors: expected a fitted Text or a list of words, received {shown(vocabulary)}")
    # a Text checks the words
    return Text(1, vocabulary=tuple(vocabulary)).vocabulary


def _check_head(head: bytes, path: Path) -> tuple[tuple[int, int] | None, bytes]:
    """The numbers of a header, `(words, numbers each)` or None, and what comes after the first line."""
    for magic, kind in PACKED.items():
        if head.startswith(magic):
            raise InputError(f"{path}: expected an unpacked file of word vectors, received {kind}: unpack it first")
    line, _, rest = head.partition(b"\n")
    fields = line.split()
    if len(fields) == 2 and all(field.isdigit() for field in fields):
        count, size = map(int, fields)
        if count and size:
            return (count, size), rest
    if b"\0" in head[:1000] or _numbers_at_end(line.rstrip().split(b" ")) < 1:
        raise InputError(
            f"{path}: expected a file of word vectors, GloVe text or word2vec (text or binary), "
            f"received one that begins with {head[:40]!r}"
        )
    return None, rest


def _is_text(first: bytes) -> bool:
    """Whether the content after the header is text: after a word, only characters of numbers."""
    return set(first.partition(b" ")[2][:100].partition(b"\n")[0]) <= TEXTUAL


def _numbers_at_end(fields: list[bytes]) -> int:
    """How many of a line's last fields are numbers; its first is a word."""
    for place in range(len(fields) - 1, 0, -1):
        if _floats(fields[place : place + 1]) is None:
            return len(fields) - 1 - place
    return len(fields) - 1


def _floats(fields: list[bytes]) -> list[float] | None:
    """The byte strings as numbers; None if one is no number."""
    try:
        return [float(field) for field in fields]
    except ValueError:
        return None


def _text(file: BinaryIO, header: tuple[int, int] | None, collected: "_Collected") -> None:
    count, size = header or (None, None)
    read = 0
    for number, line in enumerate(file, 1):
        line = line.rstrip()
        if not line or (header and number == 1):
            continue
        where = f"line {number}"
        if size is None:
            size = _numbers_at_end(line.split(b" "))
        if line.count(b" ") == size:
            word, _, values = line.partition(b" ")
        else:
            word, values = _with_spaces(line, size, collected.path, where)
        read += 1
        collected.add(word, where, partial(_spelt, values, collected.path, where))
    if count is not None and read != count:
        raise InputError(f"{collected.path}: its header says {count:,} words, found {read:,}")


def _with_spaces(line: bytes, size: int, path: Path, where: str) -> tuple[bytes, bytes]:
    """The word, which has spaces in it, and the numbers of a line of GloVe."""
    fields = line.split(b" ")
    numbers = _numbers_at_end(fields)
    if numbers != size or len(fields) <= size:
        raise InputError(f"{path} {where}: expected a word and {size} numbers, found {numbers} numbers: {line[:60]!r}")
    return b" ".join(fields[:-size]), b" ".join(fields[-size:])


def _spelt(values: bytes, path: Path, where: str) -> np.ndarray:
    numbers = _floats(values.split(b" "))
    if numbers is None:
        raise InputError(f"{path} {where}: expected numbers, received {values[:60]!r}")
    return np.array(numbers, "float32")


def _binary(file: BinaryIO, header: tuple[int, int], collected: "_Collected") -> None:
    count, size = header
    file.readline()
    buffer, start, offset = b"", 0, file.tell()  # offset: where the buffer begins in the file
    for number in range(1, count + 1):
        while (space := buffer.find(b" ", start, start + LONGEST)) < 0 or len(buffer) <= space + 4 * size:
            if space < 0 and len(buffer) >= start + LONGEST:
                word = buffer[start : start + 40]
                raise InputError(f"{collected.path} byte {offset + start}: expected a word, received {word!r}")
            more = file.read(max(CHUNK, 4 * size))
            if not more:
                raise InputError(
                    f"{collected.path}: ends within word {number:,}, byte {offset + len(buffer):,}; its header says "
                    f"{count:,} words of {size} numbers"
                )
            buffer, start, offset = buffer[start:] + more, 0, offset + start
        where = f"word {number}, byte {offset + start}"
        values, word = buffer[space + 1 : space + 1 + 4 * size], buffer[start:space].lstrip(b"\n")
        start = space + 1 + 4 * size
        collected.add(word, where, partial(np.frombuffer, values, "<f4"))
    if (buffer[start:] + file.read(CHUNK)).strip():
        raise InputError(f"{collected.path}: goes on after the {count:,} words of {size} numbers that its header says")


class _Collected:
    """The rows of a vocabulary, while a file is read."""

    def __init__(self, words: Sequence[str], path: Path):
        self.words, self.path = words, path
        self.rows = {word.encode(): row for row, word in enumerate(words)}
        self.exact: dict[int, tuple[str, np.ndarray]] = {}  # row -> (where, values)
        self.similar: dict[int, tuple[str, np.ndarray]] = {}

    def add(self, word: bytes, where: str, values: Callable[[], np.ndarray]) -> None:
        """One entry of the file; `values` gives its numbers, which are read only if the vocabulary has the word."""
        row = self.rows.get(word)
        if row is not None:
            if row in self.exact:
                raise InputError(f"{self.path} {where}: {self.words[row]!r} again, first at {self.exact[row][0]}")
            self.exact[row] = where, self._finite(values(), where)
            self.similar.pop(row, None)
            return
        try:
            plain = word.decode().lower().translate(APOSTROPHES)
        except UnicodeDecodeError as error:
            raise InputError(f"{self.path} {where}: the word {word!r} is not UTF-8") from error
        row = self.rows.get(plain.encode())
        if row is not None and row not in self.exact and row not in self.similar:
            self.similar[row] = where, self._finite(values(), where)

    def _finite(self, values: np.ndarray, where: str) -> np.ndarray:
        if not np.isfinite(values).all():
            raise InputError(
                f"{self.path} {where}: expected finite numbers, received {values[~np.isfinite(values)][0]}"
            )
        return values

    def result(self) -> WordVectors:
        rows = self.exact | self.similar
        if not rows:
            few = ", ".join(map(repr, self.words[:SHOWN]))
            raise InputError(f"{self.path}: holds none of the {len(self.words):,} words of the vocabulary, as {few}")
        places = np.array(sorted(rows))
        vectors = np.stack([rows[row][1] for row in places])
        mean, std = vectors.mean(axis=0, dtype="float64"), vectors.std(axis=0, dtype="float64")
        values = np.random.default_rng(0).normal(mean, std, (len(self.words) + 2, vectors.shape[1]))
        values[0], values[1], values[places + 2] = 0, mean, vectors
        values = values.astype("float32")
        values.flags.writeable = False
        return WordVectors(
            values,
            tuple(word for row, word in enumerate(self.words) if row in rows),
            tuple(word for row, word in enumerate(self.words) if row not in rows),
        )
