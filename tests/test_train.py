"""`mk.train`: the recipe in one call, what it chooses, and how it goes on."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mmkeras as mk
from mmkeras.errors import InputError
from mmkeras.training.defaults import recommended_spec, recommended_training


def table(rows=240):
    """Whether a > b, and their sum."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, rows))
    word = np.where(a > 0, "up", "down")
    label = np.where(a > b, "yes", "no")
    split = np.where(np.arange(rows) % 4 == 0, "val", np.where(np.arange(rows) % 4 == 1, "test", "train"))
    return pd.DataFrame({"a": a, "b": b, "word": word, "label": label, "sum": a + b, "split": split})


@pytest.fixture(scope="module")
def data():
    inputs = {"cells": mk.Tabular(["a", "b"]), "word": mk.Text(1)}
    return mk.read(table(), mk.Schema(inputs, {"label": mk.Category()})).split("split")


@pytest.fixture(scope="module")
def numbers():
    schema = mk.Schema({"cells": mk.Tabular(["a", "b"])}, {"sum": mk.Number()})
    return mk.read(table(), schema).split("split")


@pytest.fixture(scope="module")
def run(data):
    return mk.train(data, epochs=12, batch_size=16, learning_rate=1e-2, verbose=0)


def test_it_learns_and_has_its_best_weights(run, data):
    assert run.evaluate(permutations=1).metrics["accuracy"] > 0.85
    scores = run.history.history["val_accuracy"]
    assert run.score == ("val_accuracy", max(scores))
    assert run.best_epoch == int(np.argmax(scores))
    assert len(run.history.epoch) == len(scores)
    found = mk.evaluate(run.model, data["val"], permutations=1).metrics["accuracy"]
    assert found == pytest.approx(max(scores), abs=1e-6)
    assert f"best in epoch {run.best_epoch + 1}: val_accuracy" in repr(run)


def test_what_a_run_does(run, data, tmp_path):
    assert len(run.predict()) == len(data["test"])
    model, schema, spec = mk.load(run.save(tmp_path / "run.mmkeras"))
    assert (schema, spec) == (run.schema, run.spec)
    np.testing.assert_array_equal(mk.predict(model, data["val"])["label"], run.predict(data["val"])["label"])
    bundle = run.export(tmp_path / "served", records=data["test"])
    assert (bundle / "assets.extra" / "spec.json").exists()
    with pytest.raises(InputError, match=r"Run.evaluate: expected records, or a split 'test' or 'val' of Records"):
        mk.train({"train": data["train"]}, epochs=1, verbose=0).evaluate()


def test_it_says_what_it_chose(data, capsys):
    run = mk.train(data, epochs=1, verbose=2)
    told = capsys.readouterr().out.splitlines()[0]
    assert told.startswith(f"120 rows: {run.model.count_params()} parameters, at most 1 epochs of batches of 32")
    assert told.endswith("augmentation: cells (noise, hide), word (drop)")
    assert run.training.augment == {"cells": {"noise": 0.05, "hide": 0.05}, "word": {"drop": 0.05}}
    assert run.spec.tasks == {"label": {"kind": "softmax", "label_smoothing": 0.05}}


def test_sizes_suit_the_rows(data):
    small, large = (recommended_training(data.schema, rows) for rows in (300, 50_000))
    assert (small["epochs"], small["batch_size"]) == (60, 32)
    assert (large["epochs"], large["batch_size"]) == (12, 128)
    assert recommended_spec(data.schema, 300).width < recommended_spec(data.schema, 50_000).width


def test_without_rows_to_choose_by(data):
    run = mk.train({"train": data["train"]}, epochs=2, augment=False, verbose=0)
    assert (run.best_epoch, run.score, run.training.augment) == (None, None, None)
    assert list(run.history.history) == ["accuracy", "loss"]


def test_own_losses_and_metrics(numbers):
    run = mk.train(numbers, epochs=1, loss="mape", metrics=["mse"], verbose=0)
    assert run.model.loss.__name__ == "mean_absolute_percentage_error"
    assert {"mae", "r2", "mean_squared_error"} < {name.removeprefix("val_") for name in run.history.history}


def test_the_average_is_validated_and_kept(numbers):
    run = mk.train(numbers, epochs=3, average=0.9, batch_size=16, verbose=0)
    found = mk.evaluate(run.model, numbers["val"], permutations=1).metrics["mae"]
    assert found == pytest.approx(min(run.history.history["val_mae"]), rel=1e-5)
    plain = mk.train(numbers, epochs=3, batch_size=16, verbose=0)
    assert plain.history.history["loss"][0] == run.history.history["loss"][0]
    assert plain.history.history["val_mae"] != run.history.history["val_mae"]


def test_it_ends_when_nothing_gets_better(numbers):
    run = mk.train(numbers, epochs=30, learning_rate=1e-9, patience=2, verbose=0)
    assert len(run.history.epoch) < 30
    assert len(run.history.epoch) == run.best_epoch + 3


PROGRAM = """
import os, sys
sys.path.insert(0, {tests!r})
import keras, mmkeras as mk
from test_train import table
schema = mk.Schema({{"cells": mk.Tabular(["a", "b"])}}, {{"label": mk.Category()}})
data = mk.read(table(), schema).split("split")

class Killed(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == {dies} and batch == 2:
            os.kill(os.getpid(), 9)

run = mk.train(data, epochs=4, batch_size=16, average=0.9, directory={folder!r}, verbose=0, callbacks=[Killed()])
print(run.history.history, run.best_epoch, len(run.history.epoch))
"""


def trained(folder, dies):
    """The process that trains into a folder, killed in an epoch."""
    program = PROGRAM.format(tests=str(Path(__file__).parent), folder=str(folder), dies=dies)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_killed_it_ends_where_it_would_have_ended(tmp_path):
    whole = trained(tmp_path / "whole", dies=9)
    assert whole.returncode == 0, whole.stderr
    assert trained(tmp_path / "killed", dies=2).returncode == -signal.SIGKILL
    resumed = trained(tmp_path / "killed", dies=9)
    assert resumed.stdout == whole.stdout
    whole, killed = (np.load(tmp_path / name / "checkpoint.npz") for name in ("whole", "killed"))
    assert len(whole.files) > 10
    for name in whole.files:  # weights, averages, the optimizer, random layers, and the weights of the best epoch
        np.testing.assert_array_equal(whole[name], killed[name])


def test_a_checkpoint_of_another_training(numbers, data, tmp_path):
    mk.train(numbers, epochs=1, directory=tmp_path, verbose=0)
    with pytest.raises(InputError, match=r"the folder holds a training with another schema; give another directory"):
        mk.train(data, epochs=1, directory=tmp_path, verbose=0)
    with pytest.raises(InputError, match=r"with another training; .*overwrite=True"):
        mk.train(numbers, epochs=2, directory=tmp_path, verbose=0)
    assert len(mk.train(numbers, epochs=2, directory=tmp_path, overwrite=True, verbose=0).history.epoch) == 2
    (tmp_path / "checkpoint.npz").write_bytes(b"PK no zip")
    with pytest.raises(InputError, match=r"checkpoint.npz': expected a checkpoint of mk.train"):
        mk.train(numbers, epochs=2, directory=tmp_path, verbose=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "Training: expected epochs to be a whole number above 0"),
        ({"patience": 0}, "train: expected patience to be a whole number above 0"),
        ({"average": 1.0}, "Training: expected average to be from 0 to below 1"),
        ({"learing_rate": 1}, "train: unknown argument 'learing_rate'; did you mean 'learning_rate'"),
        ({"augment": {"cell": {}}}, "augment: unknown input 'cell'; did you mean 'cells'"),
    ],
)
def test_refused(numbers, options, message):
    with pytest.raises(InputError, match=message):
        mk.train(numbers, verbose=0, **options)


def test_data_that_is_none(numbers):
    with pytest.raises(
        InputError, match=r"expected a mapping of 'train' and 'val' to records, received Records: .*split"
    ):
        mk.train(numbers["train"])
    with pytest.raises(InputError, match="train: expected data with 'train', received val"):
        mk.train({"val": numbers["val"]})
