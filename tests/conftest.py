import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before the first test module imports TensorFlow

import pytest

import mmkeras as mk


@pytest.fixture(scope="session")
def keypad_manifest(tmp_path_factory):
    """manifest.csv of 300 rows with real pictures and recordings beside it; not to be written to."""
    return mk.datasets.keypad(
        tmp_path_factory.mktemp("shared") / "keypad", rows=300, seed=5
    )  # in which training has every answer


@pytest.fixture(scope="session")
def keypad_schema():
    return mk.Schema(
        inputs={"image": mk.Image(8, 8, 1), "question": mk.Text(16), "audio": mk.Audio(8000, 0.3)},
        targets={"answer": mk.Category()},
    )


@pytest.fixture(scope="session")
def keypad_splits(keypad_manifest, keypad_schema):
    return mk.read(keypad_manifest, keypad_schema).split("split")
