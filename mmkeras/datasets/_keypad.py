"""The keypad set: a written digit, a dialled digit, and a question about both."""

import csv
import itertools
import os
import wave
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mmkeras.checks import check_whole, checked_keywords
from mmkeras.datasets._files import write_once, write_table
from mmkeras.errors import InputError, unknown

RATE, SAMPLES = 8000, 2400  # 0.3 s at the telephone's rate
MIN_ROWS = 100

# The low and the high frequency of each key in Hz, as in ITU-T Q.23. Only 0 to 9 are dialled.
KEYS = {
    **{"1": (697, 1209), "2": (697, 1336), "3": (697, 1477), "A": (697, 1633)},
    **{"4": (770, 1209), "5": (770, 1336), "6": (770, 1477), "B": (770, 1633)},
    **{"7": (852, 1209), "8": (852, 1336), "9": (852, 1477), "C": (852, 1633)},
    **{"*": (941, 1209), "0": (941, 1336), "#": (941, 1477), "D": (941, 1633)},
}

# What is asked: the answer for a written digit d and a dialled key k, and the ways to ask.
KINDS = {
    "sum": (
        lambda d, k: str(d + k),
        "What is the sum of the written digit and the dialled digit?",
        "What do you get when you add the dialled digit to the written one?",
        "How much are the digit in the picture and the key pressed together?",
        "Add the number you see to the number you hear.",
    ),
    "difference": (
        lambda d, k: str(abs(d - k)),
        "What is the difference between the written digit and the dialled digit?",
        "How far apart are the digit in the picture and the key pressed?",
        "By how much do the two digits differ?",
        "Subtract the smaller digit from the larger one: what is left?",
    ),
    "larger": (
        lambda d, k: str(max(d, k)),
        "What is the larger of the written and the dialled digit?",
        "Name the bigger one of the two digits.",
        "What is the maximum of the digit you see and the digit you hear?",
        "Of the picture and the tone, what is the higher number?",
    ),
    "smaller": (
        lambda d, k: str(min(d, k)),
        "What is the smaller of the written and the dialled digit?",
        "Name the lesser one of the two digits.",
        "What is the minimum of the digit you see and the digit you hear?",
        "Of the picture and the tone, what is the lower number?",
    ),
    "which": (
        lambda d, k: "neither" if d == k else "written" if d > k else "dialled",
        "Which is larger, the written or the dialled digit?",
        "Is the written digit larger, the dialled one, or neither?",
        "Which one wins, the digit in the picture or the key pressed?",
        "Which digit is greater, written or dialled?",
    ),
    "equal": (
        lambda d, k: "yes" if d == k else "no",
        "Are the written digit and the dialled digit equal?",
        "Is the digit in the picture the same as the key pressed?",
        "Was the written digit dialled?",
        "Do the picture and the tone show the same number?",
    ),
    "even": (
        lambda d, k: "no" if (d + k) % 2 else "yes",
        "Is the sum of the written and the dialled digit even?",
        "Do the two digits add up to an even number?",
        "Can the sum of both digits be divided by two?",
        "Is the digit in the picture plus the key pressed an even number?",
    ),
}


@checked_keywords
def keypad(directory: str | os.PathLike[str], rows: int = 15000, seed: int = 0) -> Path:
    """Write the keypad set into `directory` and return the path of its manifest.csv.

    Each row holds a real handwritten digit (scikit-learn's `load_digits`, an 8x8 grey PNG), the tone of a telephone
    key (a 16-bit mono WAV of 0.3 s at 8 kHz) and an English question about both: their sum, difference, maximum or
    minimum, which is larger, whether they are equal, whether their sum is even. No kind of question can be answered
    from the picture or the sound alone, though single rows can: the larger of a 9 and anything is 9.
    `keypad_ceilings` gives the best accuracy that each subset of the three can reach.

    manifest.csv has the columns image, question, audio, answer, split (paths relative to it); truth.csv beside it has
    the hidden facts of the same rows: digit, key, kind. The splits (train, val, test: 80, 10, 10 %) share no picture
    and no recording; the digits, and the few pictures that are hard to read (their nearest other picture shows another
    digit), are spread evenly over them. Within a split about three rows share a recording, and with 15000 rows about
    eight a picture. The same seed gives the same bytes (with the same NumPy and TensorFlow). A directory that already
    holds this very set is left as it is, one that holds another keypad set is written anew, and one that holds a
    manifest, a truth.csv or pictures and recordings of other origin is refused.

    The tones, drawn evenly and independently for each recording:

    - two frequencies, one of each group (`KEYS`, ITU-T Q.23), each off by up to 1.5 %;
    - the stronger frequency between -16 and -6 dBm0, where a sine of full scale has +3.14 dBm0;
    - twist, the high frequency's level over the low one's, between -8 and +4 dB: so none is below -24 dBm0;
    - 40 to 300 ms long, starting anywhere in the 0.3 s;
    - white noise throughout, 15 to 30 dB below the weaker frequency (its power from 0 to 4 kHz).

    These lie within what a receiver must take by the figures usually given for ITU-T Q.24 (its AT&T column): 1.5 %,
    0 to -25 dBm for each frequency, +4 to -8 dB, 40 ms. The 15 dB is the customary figure of receivers' data sheets.
    We took the figures from such secondary sources, not from the text of the recommendations, and claim no conformance.

    Args:
        directory: where to write; made when it does not exist.
        rows: how many rows, at least 100; from about 900 on each split has several recordings of every key.
        seed: a whole number, 0 or more.
    """
    rows = check_whole(rows, "rows", "keypad: ", least=MIN_ROWS)
    seed = check_whole(seed, "seed", "keypad: ", least=0)
    settings = {"set": "keypad", "format": 2, "rows": rows, "seed": seed}
    names = ("manifest.csv", "truth.csv", "images", "audio")
    return write_once(directory, settings, names, lambda folder: _write(folder, rows, seed))


def keypad_ceilings(manifest: str | os.PathLike[str], split: str = "test") -> dict[tuple[str, ...], float]:
    """The best accuracy on the rows of `split`, by what a model sees: {(): ., ("image",): ., ..., all three: 1.0}.

    Picture, question and recording tell of the answer only through the digit, the kind of question and the key: how a
    digit is written, how a question is put and how a tone sounds are drawn without regard to the answer. So rows that
    agree in the facts seen cannot be told apart as to their answers, and the best is one answer for all of them: the
    most frequent. We count it on these very rows, as if a model knew it beforehand (the plug-in estimate), which is
    never below what a model can expect that learned from other rows; only one that has learned the answers of these
    very rows can pass it. Subsets come in the order of their size, names in the order image, question, audio.
    """
    facts = {"image": "digit", "question": "kind", "audio": "key"}
    manifest = Path(manifest)
    rows = _read(manifest, ("answer", "split"))
    truth = _read(manifest.with_name("truth.csv"), facts.values())
    if len(rows) != len(truth):
        raise InputError(f"{manifest}: {len(rows)} rows, but truth.csv beside it has {len(truth)}; expected as many")
    if split not in {row["split"] for row in rows}:
        raise unknown("split", split, {row["split"] for row in rows}, where=f"{manifest}: ")
    pairs = [(fact, row["answer"]) for row, fact in zip(rows, truth, strict=True) if row["split"] == split]
    ceilings = {}
    for seen in itertools.chain.from_iterable(itertools.combinations(facts, n) for n in range(len(facts) + 1)):
        cells: dict[tuple[str, ...], Counter[str]] = {}
        for fact, answer in pairs:
            cells.setdefault(tuple(fact[facts[name]] for name in seen), Counter())[answer] += 1
        ceilings[seen] = sum(max(cell.values()) for cell in cells.values()) / len(pairs)
    return ceilings


def _read(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            rows, found = list(reader), reader.fieldnames or []
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    missing = [name for name in columns if name not in found]
    if missing:
        raise InputError(f"{path}: expected the column {missing[0]!r}; found {', '.join(found) or 'none'}")
    return rows


def _write(directory: Path, rows: int, seed: int) -> None:
    import tensorflow as tf
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(seed)
    table, keys = _rows(digits.target, _strata(digits), rows, rng)
    images = [f"images/{n:04d}.png" for n in rng.permutation(len(digits.target))]
    audio = [f"audio/{n:05d}.wav" for n in rng.permutation(len(keys))]
    for folder, files in (("images", "[0-9]" * 4 + ".png"), ("audio", "[0-9]" * 5 + ".wav")):  # ours, not "me.png"
        (directory / folder).mkdir(exist_ok=True)
        for old in (directory / folder).glob(files):
            old.unlink()
    for picture in sorted({row["picture"] for row in table}):
        pixels = np.round(digits.images[picture] * (255 / 16)).astype(np.uint8)
        (directory / images[picture]).write_bytes(tf.io.encode_png(pixels[..., None]).numpy())
    for key, name in zip(keys, audio, strict=True):
        with wave.open(str(directory / name), "wb") as file:
            file.setparams((1, 2, RATE, SAMPLES, "NONE", ""))
            file.writeframes(_tone(str(key), rng).tobytes())
    write_table(directory / "truth.csv", ("digit", "key", "kind"), ((r["digit"], r["key"], r["kind"]) for r in table))
    write_table(
        directory / "manifest.csv",
        ("image", "question", "audio", "answer", "split"),
        ((images[r["picture"]], r["question"], audio[r["recording"]], r["answer"], r["split"]) for r in table),
    )


def _strata(digits):
    """The numbers of the pictures to be spread evenly over the splits: of each digit, and of those that are hard.

    Hard is a picture whose nearest other picture shows another digit; about one in 80 is.
    """
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=1).fit(digits.data).kneighbors(return_distance=False)[:, 0]
    hard = digits.target[nearest] != digits.target
    return [np.flatnonzero(~hard & (digits.target == digit)) for digit in range(10)] + [np.flatnonzero(hard)]


def _rows(digits, strata, rows, rng):
    """The rows, with numbers for pictures and recordings, and the key of each recording."""
    table, keys = [], []
    held = round(0.1 * rows)
    pools = {"train": [], "val": [], "test": []}
    for stratum in strata:
        own = rng.permutation(stratum)
        cut = round(0.1 * len(own))
        for split, part in zip(pools, (own[2 * cut :], own[:cut], own[cut : 2 * cut]), strict=True):
            pools[split].extend(part)
    for split, count in (("train", rows - 2 * held), ("val", held), ("test", held)):
        pictures, kinds = _evenly(pools[split], count, rng), _evenly(list(KINDS), count, rng)
        dialled = np.array([_dial(kind, int(digits[p]), rng) for p, kind in zip(pictures, kinds, strict=True)])
        recordings = _share(dialled, keys)
        for picture, kind, key, recording in zip(pictures, kinds, dialled, recordings, strict=True):
            answer, *phrasings = KINDS[kind]
            digit, key, question = int(digits[picture]), int(key), phrasings[rng.integers(len(phrasings))]
            row = {"picture": int(picture), "question": question, "recording": int(recording), "split": split}
            table.append({**row, "answer": answer(digit, key), "digit": digit, "key": key, "kind": str(kind)})
    return table, keys


def _evenly(items, count, rng):
    """`count` draws in which no item comes more than once oftener than another."""
    return rng.permutation(np.resize(rng.permutation(items), count))


def _dial(kind, digit, rng):
    """The key to dial: any of the ten, but "equal" and "which" take each answer that `digit` allows equally often."""
    choices = [range(10)]
    if kind == "equal":
        choices = [[digit], [key for key in range(10) if key != digit]]
    elif kind == "which":
        choices = [part for part in (range(digit), [digit], range(digit + 1, 10)) if len(part)]
    return int(rng.choice(choices[rng.integers(len(choices))]))


def _share(dialled, keys):
    """A recording for each row: one for about three rows of a key, at least three where there are rows for them."""
    recordings = np.empty(len(dialled), int)
    for key in range(10):
        places = np.flatnonzero(dialled == key)
        count = max(-(-len(places) // 3), min(len(places), 3))
        recordings[places] = len(keys) + np.arange(len(places)) % max(count, 1)
        keys.extend([key] * count)
    return recordings


def _tone(key, rng):
    """One recording of `key` as 16-bit samples; the ranges are those that `keypad` documents."""
    twist, strongest = rng.uniform(-8, 4), rng.uniform(-16, -6)
    levels = strongest - max(twist, 0), strongest + min(twist, 0)
    peaks = [10 ** ((level - 3.14) / 20) for level in levels]
    length = rng.integers(SAMPLES * 40 // 300, SAMPLES + 1)
    start = rng.integers(SAMPLES - length + 1)
    signal = rng.normal(0, min(peaks) / 2**0.5 * 10 ** (-rng.uniform(15, 30) / 20), SAMPLES)
    for frequency, peak in zip(KEYS[key], peaks, strict=True):
        step = 2 * np.pi * frequency * (1 + rng.uniform(-0.015, 0.015)) / RATE
        signal[start : start + length] += peak * np.sin(step * np.arange(length) + rng.uniform(0, 2 * np.pi))
    return np.round(np.clip(signal, -1, 1) * 32767).astype("<i2")
