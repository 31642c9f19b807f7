import hashlib
import re
import subprocess
import sys
import wave

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

from mmkeras.datasets import easy_vqa, keypad, keypad_ceilings
from mmkeras.datasets._keypad import KEYS, KINDS, _rows, _strata
from mmkeras.errors import InputError

LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return keypad(tmp_path_factory.mktemp("keypad") / "made" / "here", rows=900, seed=3)


@pytest.fixture(scope="module")
def table(manifest):
    rows, truth = (pd.read_csv(manifest.with_name(name), dtype=str) for name in ("manifest.csv", "truth.csv"))
    assert list(rows.columns) == ["image", "question", "audio", "answer", "split"]
    assert list(truth.columns) == ["digit", "key", "kind"]
    assert len(rows) == len(truth) == 900
    return pd.concat([rows, truth], axis=1)


def hashes(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.*")}


def right(kind, d, k):
    """The answer, worked out apart from the package."""
    low, high = sorted((d, k))
    if kind == "which":
        return "neither" if low == high else {d: "written", k: "dialled"}[high]
    if kind in ("equal", "even"):
        return ["no", "yes"][low == high if kind == "equal" else (high - low) % 2 == 0]
    return str({"sum": low + high, "difference": high - low, "larger": high, "smaller": low}[kind])


def tone(path):
    """What a recording holds: (frequency, level in dBm0) of both groups, seconds of the tone, rms of the noise."""
    with wave.open(str(path)) as file:
        assert file.getparams()[:5] == (1, 2, 8000, 2400, "NONE")
        signal = np.frombuffer(file.readframes(2400), "<i2") / 32767
    power = np.convolve(signal**2, np.ones(40) / 40, mode="same")
    loud = np.flatnonzero(power > power.max() / 4)
    start, end = loud[0], loud[-1] + 1
    window = np.hanning(end - start - 48)
    spectrum = np.abs(np.fft.rfft(signal[start + 24 : end - 24] * window, 65536)) * 2 / window.sum()
    frequencies = np.fft.rfftfreq(65536, 1 / 8000)
    peaks = []
    for least, most in ((640, 1010), (1140, 1710)):
        band = (frequencies > least) & (frequencies < most)
        top = spectrum[band].argmax()
        peaks.append((frequencies[band][top], 20 * np.log10(spectrum[band][top]) + 3.14))
    quiet = np.concatenate([signal[: max(start - 40, 0)], signal[end + 40 :]])
    return *peaks, (end - start) / 8000, quiet.std() if len(quiet) > 400 else None


def test_splits_share_nothing_and_names_tell_nothing(manifest, table):
    assert table["split"].value_counts().to_dict() == {"train": 720, "val": 90, "test": 90}
    assert table.groupby("image")["split"].nunique().max() == table.groupby("audio")["split"].nunique().max() == 1
    sounds, pictures = table.drop_duplicates("audio"), table.drop_duplicates("image")
    assert pictures.groupby("split")["digit"].nunique().eq(10).all()
    assert sounds.groupby("split")["key"].value_counts().unstack(fill_value=0).to_numpy().min() >= 3
    assert 300 <= len(sounds) <= 330
    assert table["audio"].value_counts().max() <= 3
    files = {str(path.relative_to(manifest.parent)) for path in manifest.parent.glob("*/*")}
    assert files == {*table["image"], *table["audio"]}
    assert len(set(hashes(manifest.parent).values())) == len(files) + 3  # no two are the same
    assert all(re.fullmatch(r"images/\d{4}\.png|audio/\d{5}\.wav", name) for name in files)
    assert abs(sounds["audio"].str[6:-4].astype(int).corr(sounds["key"].astype(int))) < 0.25


def test_answers_follow_from_the_hidden_facts(table):
    for row in table.itertuples():
        assert row.answer == right(row.kind, int(row.digit), int(row.key)), row
    assert set(table["kind"]) == set(KINDS)
    assert table.groupby("question")["kind"].nunique().eq(1).all()
    assert table.groupby("kind")["question"].nunique().between(3, 5).all()
    assert table["question"].str.split().str.len().max() <= 16
    shares = table.groupby("kind")["answer"].value_counts(normalize=True)
    assert max(shares["equal"].max(), shares["even"].max(), shares["which"].max() + 0.15) < 0.65


def test_pictures_are_the_written_digits(manifest, table):
    import tensorflow as tf

    known, as_numbered = load_digits(), 0
    index = {image.astype(int).tobytes(): number for number, image in enumerate(known.images)}
    for name, digit in set(zip(table["image"], table["digit"], strict=True)):
        pixels = tf.io.decode_png((manifest.parent / name).read_bytes()).numpy()
        assert (pixels.shape, pixels.dtype) == ((8, 8, 1), np.uint8)
        number = index[np.round(pixels[..., 0] * (16 / 255)).astype(int).tobytes()]
        assert known.target[number] == int(digit)
        as_numbered += number == int(name[7:-4])
    assert as_numbered < 10  # in the order of load_digits, a name would tell the digit


def test_recordings_are_the_dialled_keys(manifest, table):
    seconds = []
    for name, key in set(zip(table["audio"], table["key"], strict=True)):
        (low, low_level), (high, high_level), length, noise = tone(manifest.parent / name)
        nominal = min(LOW, key=lambda f: abs(f - low)), min(HIGH, key=lambda f: abs(f - high))
        assert nominal == KEYS[key], name
        assert max(abs(low / nominal[0] - 1), abs(high / nominal[1] - 1)) < 0.018  # 1.5 %, and the error of measuring
        assert -8.5 < high_level - low_level < 4.5
        assert min(low_level, high_level) > -25
        assert -16.5 < max(low_level, high_level) < -5.5
        assert 0.035 < length <= 0.3
        seconds.append(length)
        if noise is not None:
            weaker = 10 ** ((min(low_level, high_level) - 3.14) / 20) / 2**0.5
            assert 13.5 < 20 * np.log10(weaker / noise) < 31.5, name
    assert min(seconds) < 0.07 < 0.27 < max(seconds)
    assert {key: (LOW[n // 4], HIGH[n % 4]) for n, key in enumerate("123A456B789C*0#D")} == KEYS


def test_same_seed_same_bytes(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device", str(manifest))

    folder = tmp_path / "set"
    manifest = keypad(folder, rows=100)
    first, times = hashes(folder), [path.stat().st_mtime_ns for path in (folder, *sorted(folder.rglob("*")))]
    assert keypad(str(folder), rows=np.int64(100)) == manifest == folder / "manifest.csv"
    assert times == [path.stat().st_mtime_ns for path in (folder, *sorted(folder.rglob("*")))]  # nothing was written
    monkeypatch.setattr("mmkeras.datasets._keypad.write_table", full)
    with pytest.raises(InputError, match=r"cannot write .*csv: No space left on device"):
        keypad(folder, rows=130, seed=1)
    monkeypatch.undo()
    assert not manifest.exists()
    assert '"complete": false' in (folder / "keypad.json").read_text()
    keypad(folder, rows=130, seed=1)
    other = hashes(folder)
    assert hashes(keypad(tmp_path / "fresh", rows=130, seed=1).parent) == other
    assert not {h for name, h in first.items() if name.endswith((".wav", ".csv"))} & set(other.values())
    keypad(folder, rows=100)
    assert hashes(folder) == first


@pytest.mark.parametrize("name", ["manifest.csv", "truth.csv", "audio", "keypad.json"])
def test_foreign_files_are_refused(tmp_path, name):
    (tmp_path / name).write_text('{"set": "mine"}')
    with pytest.raises(InputError, match=f"{name}.*not ours"):
        keypad(tmp_path, rows=100)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, '{"set": "mine"}')]


@pytest.mark.parametrize("wrong", [{"rows": 99}, {"rows": 150.0}, {"rows": "600"}, {"rows": True}, {"seed": -1}])
def test_bad_rows_and_seed(tmp_path, wrong):
    with pytest.raises(InputError, match=rf"keypad: expected {min(wrong)} to be a whole number from \d+, received"):
        keypad(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


def test_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for path, reason in (("file/set", "Not a directory"), ("file", "File exists")):
        with pytest.raises(InputError, match=f"cannot write .*file.*: {reason}"):
            keypad(tmp_path / path, rows=100)


def tiny(folder, facts):  # digit, key, kind, answer, split
    pd.DataFrame([f[3:] for f in facts], columns=["answer", "split"]).to_csv(folder / "manifest.csv", index=False)
    pd.DataFrame([f[:3] for f in facts], columns=["digit", "key", "kind"]).to_csv(folder / "truth.csv", index=False)
    return folder / "manifest.csv"


def test_ceilings_by_hand(tmp_path):
    rows = [(1, 2, "sum", "3"), (1, 1, "sum", "2"), (1, 2, "larger", "2"), (3, 2, "larger", "3"), (3, 0, "sum", "3")]
    more = [(1, 0, "smaller", "0", "test"), (9, 9, "sum", "18", "val")]
    manifest = tiny(tmp_path, [*((*row, "test") for row in rows), *more])
    assert list(keypad_ceilings(manifest).items()) == [
        ((), 3 / 6),  # 3
        (("image",), 4 / 6),  # 1: one way of 2; 3: 3
        (("question",), 4 / 6),  # sum: 3; larger: one of two; smaller: 0
        (("audio",), 4 / 6),  # 2: 3; 1: 2; 0: one of two
        (("image", "question"), 5 / 6),  # only (1, sum) has two answers
        (("image", "audio"), 5 / 6),  # only (1, 2) has two
        (("question", "audio"), 5 / 6),  # only (larger, 2) has two
        (("image", "question", "audio"), 1.0),
    ]


def test_default_size_needs_every_modality(tmp_path):
    digits = load_digits()
    table, _ = _rows(digits.target, _strata(digits), 15000, np.random.default_rng(0))
    manifest = tiny(tmp_path, [tuple(r[c] for c in ("digit", "key", "kind", "answer", "split")) for r in table])
    ceilings = keypad_ceilings(manifest)
    for less, low in ceilings.items():
        assert low < [0.35, 0.35, 0.55, 1.1][len(less)]
        assert all(low <= high for more, high in ceilings.items() if set(less) <= set(more))
    facts = pd.DataFrame(table)
    for fact in ("digit", "key"):  # for each kind of question alone as well
        best = facts.groupby(["kind", fact])["answer"].agg(lambda a: a.value_counts().iloc[0]).groupby("kind").sum()
        assert (best / facts["kind"].value_counts()).max() < 0.65


def test_ceilings_errors(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*manifest\.csv: No such file"):
        keypad_ceilings(tmp_path / "manifest.csv")
    manifest = tiny(tmp_path, [(1, 2, "sum", "3", "test")])
    with pytest.raises(InputError, match="unknown split 'tset'; did you mean 'test'"):
        keypad_ceilings(manifest, "tset")
    for head, message in (("digit,key,kind", "1 rows, but truth.csv .* has 0"), ("digit,kind", "column 'key'; found")):
        (tmp_path / "truth.csv").write_text(head + "\n")
        with pytest.raises(InputError, match=message):
            keypad_ceilings(manifest)


def test_import_is_cheap():
    code = "import sys, mmkeras.datasets as d; print(dir(d), {'tensorflow', 'sklearn', 'pandas'} & set(sys.modules))"
    said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert said.strip() == "['easy_vqa', 'keypad', 'keypad_ceilings'] set()"


def test_easy_vqa(tmp_path):
    pytest.importorskip("easy_vqa", reason="the extra easy-vqa is not installed")
    manifest = easy_vqa(tmp_path / "set")
    rows = pd.read_csv(manifest)
    assert " ".join(rows.columns) == "image question answer split"
    assert rows.groupby("split")["image"].nunique().to_dict() == {"train": 3600, "val": 400, "test": 1000}
    assert rows["image"].nunique() == 5000  # so the splits share none
    assert rows["split"].eq("test").value_counts().to_dict() == {False: 38575, True: 9673}
    assert rows["answer"].nunique() == 13
    assert rows["image"][0].endswith("easy_vqa/data/train/images/0.png")
    assert tuple(rows.iloc[0, 1:3]) == ("what is the blue shape?", "rectangle")
    before = manifest.stat().st_mtime_ns
    assert easy_vqa(manifest.parent).stat().st_mtime_ns == before
    assert not pd.read_csv(easy_vqa(manifest.parent, seed=1))["split"].equals(rows["split"])
    manifest.with_name("easy_vqa.json").unlink()
    with pytest.raises(InputError, match=r"manifest\.csv.*not ours"):
        easy_vqa(manifest.parent)


def test_easy_vqa_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "easy_vqa", None)
    with pytest.raises(InputError, match=r'pip install "mmkeras\[easy-vqa\]"') as caught:
        easy_vqa(tmp_path / "set")
    assert isinstance(caught.value.__cause__, ImportError)


def test_hard_pictures_are_spread_evenly_over_the_splits(tmp_path):
    """Those that a nearest neighbour misreads, found here by scikit-learn, which leaves out each picture itself."""
    digits = load_digits()
    nearest = NearestNeighbors(n_neighbors=1).fit(digits.data).kneighbors(return_distance=False)[:, 0]
    read = digits.target[nearest]
    hard = {digits.images[number].tobytes() for number in np.flatnonzero(read != digits.target)}
    rows = pd.read_csv(keypad(tmp_path, rows=4000), dtype=str).drop_duplicates("image")
    pictures = [tf.io.decode_png((tmp_path / name).read_bytes())[..., 0].numpy() for name in rows["image"]]
    is_hard = [np.round(picture * (16 / 255)).tobytes() in hard for picture in pictures]
    counts = rows.assign(hard=is_hard).groupby("split")["hard"].sum()
    assert counts.sum() == len(hard) > 15
    assert counts["val"] == counts["test"] == round(0.1 * len(hard))
