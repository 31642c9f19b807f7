"""What an attacker may try, as a table: the attack, what is expected, what was seen.

    python tests/attacks.py [WORDS ...]        # of the attacks whose names hold one of these words

One function for each attack: it takes a `Place`, attacks, and returns what it saw. The attack failed, as it should, if
that begins with what is expected.
"""

import gzip
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
import PIL.Image
import tensorflow as tf
from hostile_server import OUTPUTS, Hostile, http

import mmkeras as mk
from mmkeras.bundle import ask
from mmkeras.demo import demo
from mmkeras.errors import InputError
from mmkeras.markdown import table
from mmkeras.serving import Client, ServingError
from mmkeras.training import Training
from mmkeras.tuning.child import read_job, run_in_child, write_job
from mmkeras.tuning.folder import KEYS, begin_anew
from mmkeras.tuning.trial import Request

PLANTED = 'import os; open(os.environ["MMKERAS_ATTACKED"], "w").close(); raise SystemExit("attacked")'
QUESTION = [{"question": "a"}]


@dataclass(frozen=True)
class Attack:
    """One row of the table."""

    point: str  # of the issue
    name: str
    expected: str
    act: Callable[["Place"], str]


ATTACKS: list[Attack] = []


def attack(point: str, name: str, expected: str) -> Callable:
    """Add a function to the table."""
    return lambda act: ATTACKS.append(Attack(point, name, expected, act)) or act


class Place:
    """An empty folder for each attack, and a small served model for all of them."""

    def __init__(self, root: Path):
        self.root, self.count = root, 0

    def folder(self) -> Path:
        """A new folder."""
        self.count += 1
        path = self.root / str(self.count)
        path.mkdir()
        return path

    @cached_property
    def schema(self) -> mk.Schema:
        """A picture and a sentence -> a class."""
        inputs = {"image": mk.Image(4, 4, 3), "question": mk.Text(4, vocabulary=["a", "b"])}
        return mk.Schema(inputs, {"answer": mk.Category(classes=["x", "y"])})

    @cached_property
    def bundle(self) -> Path:
        """Its newest version."""
        return mk.export(mk.build(self.schema, width=4), self.schema, self.folder() / "model")

    @cached_property
    def serve(self) -> Callable[..., dict[str, np.ndarray]]:
        """The served graph."""
        signature = tf.saved_model.load(self.bundle).signatures["serving_default"]
        return lambda **raw: {name: out.numpy() for name, out in signature(**raw).items()}

    def answers(self, pictures: list[bytes]) -> dict[str, np.ndarray]:
        """The served answers to these pictures."""
        return self.serve(image=tf.constant(pictures), question=tf.constant(["a"] * len(pictures)))


def refused(call: Callable[[], object], kind: type[Exception] = InputError) -> str:
    """What came of a call that is to be refused in words."""
    try:
        call()
    except kind as error:
        return f"refused: {str(error)[:110]}"
    return "not refused"


@contextmanager
def surroundings(folder: Path, **variables: str):
    """The current and the temporary folder, and variables, of this process and those that it starts."""
    before, at, temporary = dict(os.environ), os.getcwd(), tempfile.tempdir
    try:
        os.environ.update({"TMPDIR": str(folder), "MMKERAS_ATTACKED": str(folder / "attacked"), **variables})
        os.chdir(folder)
        tempfile.tempdir = str(folder)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        os.chdir(at)
        tempfile.tempdir = temporary


def planted(folder: Path) -> Path:
    """A folder in which somebody left modules of names that every program imports."""
    for name in ("json", "base64", "numpy", "tensorflow", "mmkeras", "site", "sitecustomize", "usercustomize"):
        (folder / f"{name}.py").write_text(PLANTED)
    return folder


def attacked(folder: Path) -> str:
    return "attacked: the planted code ran" if (folder / "attacked").exists() else "not run"


# 15: one row fails all -----------------------------------------------------------------------------------------------


def picture(kind: str, size: tuple[int, int] = (4, 4), **options) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def neighbours(place: Place, junk: list[bytes]) -> str:
    """Whether good rows beside each of these get what they get alone."""
    good = picture("PNG")
    alone = place.answers([good])["probabilities"]
    for raw in junk:
        found = place.answers([good, raw, good])
        if list(found["status"][[0, 2]]) != [0, 0] or not np.allclose(found["probabilities"][[0, 2]], alone, atol=1e-6):
            return f"changed by {raw[:20]!r}"
        if not all(np.isfinite(value).all() for value in found.values() if value.dtype.kind == "f"):
            return f"not finite by {raw[:20]!r}"
    return f"0 of {len(junk)} batches failed or changed"


@attack("15", "GIFs cut short between good pictures", "0 of")
def gif_cut(place: Place) -> str:
    whole = picture("GIF")
    cut = [whole[:length] for length in range(0, len(whole), max(1, len(whole) // 60))]
    return neighbours(place, [b"GI", b"GIF89a\1\0\1\0\x80", *cut])


@attack("15", "PNG, JPEG, BMP and WebP cut short or changed between good pictures", "0 of")
def mutated(place: Place) -> str:
    random, junk = np.random.default_rng(1), []
    for whole in map(picture, ("PNG", "JPEG", "BMP", "WEBP")):
        junk += [whole[:length] for length in random.integers(1, len(whole), 10)]
        for _ in range(10):
            changed = bytearray(whole)
            changed[random.integers(len(whole))] ^= int(random.integers(1, 256))
            junk.append(bytes(changed))
    return neighbours(place, junk)


# 16: code from the temporary folder ----------------------------------------------------------------------------------


@attack("16", "json.py and others planted in the temporary and the current folder: mk.bundle.ask", "not run")
def planted_for_ask(place: Place) -> str:
    folder, bundle = planted(place.folder()), place.bundle
    (folder / "a.png").write_bytes(picture("PNG"))
    with surroundings(folder, PYTHONPATH=str(folder), PYTHONSTARTUP=str(folder / "json.py")):
        answers = ask(bundle, [{"image": str(folder / "a.png"), "question": "a"}], place.schema)
    return attacked(folder) if len(answers["label"]) == 1 else "no answer"


@attack("16", "the same: the process of a trial", "not run")
def planted_for_trial(place: Place) -> str:
    folder, search = planted(place.folder()), place.folder()
    request = Request(mk.ModelSpec(), Training(), ("val_loss", "min"))
    with surroundings(folder):
        (search / "job").mkdir()
        outcome = run_in_child(search / "job", write_job({}, search / "job"), request, search / "trial_0")
    return attacked(folder) if "'train'" in outcome.reason else f"the trial ended otherwise: {outcome.reason}"


@attack("16", "another pickle in the place of a search's data", "refused")
def planted_pickle(place: Place) -> str:
    search = place.folder()
    (search / "job").mkdir()
    sha256 = write_job({}, search / "job")
    (search / "job" / "job.pkl").write_bytes(f"cos\nsystem\n(S'touch {search}/attacked'\ntR.".encode())
    seen = refused(lambda: read_job(search / "job", sha256))
    return seen if attacked(search) == "not run" else attacked(search)


# 17: what overwriting deletes ----------------------------------------------------------------------------------------


def rows() -> mk.Splits:
    frame = pd.DataFrame({"question": list("abcd"), "answer": list("xyxy"), "split": ["train", "train", "val", "val"]})
    schema = mk.Schema({"question": mk.Text(4)}, {"answer": mk.Category()})
    return mk.read(frame, schema).split("split")


def listed(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@attack("17", "tune(overwrite=True) over a thesis and a data set", "refused")
def thesis(place: Place) -> str:
    folder = place.folder()
    for name in ("thesis.tex", "data/0.png", "trial_0/outcome.json", "schema.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
    before = listed(folder)
    seen = refused(lambda: mk.tune(rows(), directory=folder, overwrite=True))
    return seen if listed(folder) == before else f"gone: {set(before) - set(listed(folder))}"


@attack("17", "the same beside a search, with links", "all of it stays")
def beside_a_search(place: Place) -> str:
    folder, elsewhere = place.folder(), place.folder()
    (elsewhere / "outcome.json").write_text("mine")
    (folder / "search.json").write_text(json.dumps(dict.fromkeys(KEYS)))
    for name in ("trial_0/outcome.json", "trial_0/thesis.tex", "trial_0/data/outcome.json", "report/report.md"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text("mine")
    (folder / "thesis").symlink_to(elsewhere)
    (folder / "trial_0" / "log.txt").symlink_to(elsewhere / "outcome.json")
    begin_anew(folder)
    stays = ["report/report.md", "thesis", "trial_0/data/outcome.json", "trial_0/log.txt", "trial_0/thesis.tex"]
    found = [path for path in listed(folder) if not (folder / path).is_dir() or (folder / path).is_symlink()]
    return "all of it stays" if found == stays and listed(elsewhere) else f"found {found}"


@attack("17", "a data set written over somebody's pictures", "refused")
def own_pictures(place: Place) -> str:
    folder = place.folder()
    (folder / "images").mkdir()
    (folder / "images" / "0001.png").write_text("mine")
    seen = refused(lambda: mk.datasets.keypad(folder, rows=100))
    return seen if listed(folder) == ["images", "images/0001.png"] else f"found {listed(folder)}"


@attack("17", "the demo over somebody's summary.json", "refused")
def own_summary(place: Place) -> str:
    folder = place.folder()
    (folder / "summary.json").write_text('{"mine": 1}')
    seen = refused(lambda: demo(folder, epochs=1))
    return seen if listed(folder) == ["summary.json"] else f"found {listed(folder)}"


@attack("17", "write_shards over somebody's file of that name", "refused")
def own_shard(place: Place) -> str:
    folder = place.folder()
    (folder / "shard-00000-of-00001.tfrecord").write_text("mine")
    seen = refused(lambda: mk.write_shards(rows()["train"], folder, shards=1))
    return seen if (folder / "shard-00000-of-00001.tfrecord").read_text() == "mine" else "overwritten"


# 18: what a manifest may read ----------------------------------------------------------------------------------------


def reading(folder: Path, cell: str, **options) -> str:
    """What comes of a table with this cell, read with check="decode"."""
    frame = pd.DataFrame({"image": [cell], "answer": ["x"]})
    frame.to_csv(folder / "rows.csv", index=False)
    schema = mk.Schema({"image": mk.Image(4, 4, 3)}, {"answer": mk.Category()})
    return refused(lambda: mk.read(folder / "rows.csv", schema, check="decode", **options))


def table_folder(place: Place) -> Path:
    """A folder for a table; a picture lies beside it."""
    outer = place.folder()
    (outer / "secret.png").write_bytes(picture("PNG"))
    (outer / "rows").mkdir()
    return outer / "rows"


@attack("18", "'../secret.png' in a cell, confine=True", "refused")
def parent_folder(place: Place) -> str:
    return reading(table_folder(place), "../secret.png", confine=True)


@attack("18", "an absolute path in a cell, confine=True", "refused")
def absolute_path(place: Place) -> str:
    folder = table_folder(place)
    return reading(folder, str(folder.parent / "secret.png"), confine=True)


@attack("18", "a link out of the folder, confine=True", "refused")
def link_out(place: Place) -> str:
    folder = table_folder(place)
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    return reading(folder, "link.png", confine=True)


@attack("18", "file:///dev/zero in a cell", "refused")
def dev_zero(place: Place) -> str:
    return reading(table_folder(place), "file:///dev/zero", urls=True)


@attack("18", "http:// in a cell, urls=True", "refused")
def http_cell(place: Place) -> str:
    return reading(table_folder(place), "http://127.0.0.1:9/a.png", urls=True)


@attack("18", "a pipe in a cell", "refused")
def pipe(place: Place) -> str:
    folder = table_folder(place)
    os.mkfifo(folder / "pipe.png")
    return reading(folder, "pipe.png")


@attack("18", "a sparse file of 10 GB in a cell", "refused")
def sparse(place: Place) -> str:
    folder = table_folder(place)
    with open(folder / "sparse.png", "wb") as file:
        file.truncate(10 * 2**30)
    return reading(folder, "sparse.png")


@attack("18", "a table of 2 MB that unpacks to 2 GB", "refused")
def gzip_table(place: Place) -> str:
    path = place.folder() / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"image,answer\n") + gzip.compress(b"a.png,x\n" * 2**21) * 128)
    schema = mk.Schema({"image": mk.Image(4, 4, 3)}, {"answer": mk.Category()})
    return refused(lambda: mk.read(path, schema, max_bytes=2**28))


# 19: work without end in the served graph ----------------------------------------------------------------------------


@attack("19", "a JPEG of 400 scans in the served graph", "refused in")
def scans(place: Place) -> str:
    whole = picture("JPEG", (1000, 1000), progressive=True)
    bomb = whole[:-2] + b"\xff\xda\0\x08\1\1\0\1\x3f\0" * 400 + whole[-2:]
    place.answers([picture("PNG")])
    began = time.process_time()
    found = place.answers([bomb])
    seconds = time.process_time() - began
    return f"{'refused' if found['status'][0] and seconds < 1 else 'answered'} in {seconds:.2f} s of CPU"


@attack("19", "a picture of 400 million pixels in the served graph", "refused in")
def pixels(place: Place) -> str:
    whole = bytearray(picture("PNG"))
    whole[16:24] = (20_000).to_bytes(4, "big") * 2
    began = time.process_time()
    found = place.answers([bytes(whole)])
    seconds = time.process_time() - began
    return f"{'refused' if found['status'][0] and seconds < 1 else 'answered'} in {seconds:.2f} s of CPU"


# 20: a hostile server ------------------------------------------------------------------------------------------------


def asking(server: Hostile, **options) -> str:
    with server, Client(server.target, model="m", **options) as client:
        return refused(lambda: client.predict(QUESTION), ServingError)


@attack("20", "a server that sends a byte now and then, timeout=1", "refused")
def drip(place: Place) -> str:
    def answer(connection, request):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not time.sleep(0.2):
            connection.sendall(b" ")

    began = time.monotonic()
    seen = asking(Hostile(answer), timeout=1.0)
    return seen if time.monotonic() - began < 3 else f"after {time.monotonic() - began:.0f} s: {seen}"


@attack("20", "a redirect to another host", "refused")
def redirect(place: Place) -> str:
    with Hostile() as other:
        answer = http(b"", f"Location: {other.target}/v1/models/m:predict", status="307 Temporary Redirect")
        seen = asking(Hostile(answer))
        return f"the request was delivered: {other.requests}" if other.requests else seen


@attack("20", "0.2 MB of gzip that become 200 MB", "refused")
def gzip_answer(place: Place) -> str:
    return asking(Hostile(http(gzip.compress(b" " * 200 * 2**20, 6), "Content-Encoding: gzip")))


@attack("20", "malformed answers, and answers of the wrong width", "all refused")
def malformed(place: Place) -> str:
    answers = [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\0" * 99, http(b"["), http([]), http({"outputs": []}), http("a")]
    answers += [
        http({"outputs": OUTPUTS | {"score": score}}) for score in ([[1.0]], [[1, 2, 3]], "a", [["a", "b"]], {})
    ]
    for answer in answers:
        if not asking(Hostile(answer), timeout=5.0, retries=0).startswith("refused"):
            return f"not refused: {answer[:60]!r}"
    return f"all refused, of {len(answers)}"


# ---------------------------------------------------------------------------------------------------------------------


def run(one: Attack, place: Place) -> str:
    """What is seen of an attack; whatever it raises is seen too."""
    try:
        return one.act(place)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:110]}"


def main(words: list[str]) -> int:
    """Run the attacks and print the table; 1 if one of them did not fail."""
    lines, held = [], True
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        for one in ATTACKS:
            if words and not any(word in f"{one.point} {one.name} {one.act.__name__}" for word in words):
                continue
            began = time.monotonic()
            seen = " ".join(run(one, place).replace(folder, "").split())
            good = seen.startswith(one.expected)
            lines.append(
                [one.point, one.name, one.expected, seen, "yes" if good else "NO", f"{time.monotonic() - began:.1f}"]
            )
            held = held and good
            print(lines[-1], file=sys.stderr, flush=True)
    print(table(["point", "attack", "expected", "seen", "held", "seconds"], lines))
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
