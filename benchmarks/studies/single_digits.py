"""Questions about two digits, with towers that have learned single digits."""

import time
from collections.abc import Callable
from pathlib import Path

import keras
import pandas as pd
from models import accuracy, trained
from sets import DIGIT, SPOKEN, unpacked

import mmkeras as mk
from mmkeras.training import Training, compile_for, prepare
from studies.shared import LISTEN, TURNED, towers


class Watch(keras.callbacks.Callback):
    """CPU-seconds of this process since `start` and validation accuracy of the first target, after each epoch."""

    def __init__(self, start: float):
        super().__init__()
        self.start, self.cpu, self.val = start, [], []

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        self.cpu.append(time.process_time() - self.start)
        self.val.append(logs.get("val_accuracy", logs.get("val_answer_accuracy")))

    def found(self, test: float) -> dict:
        return {"cpu": self.cpu, "val": self.val, "test": test}


def questions(archives: Path, seed: int) -> dict:
    """CPU-seconds and accuracies from scratch, and with towers that have learned single digits.

    From scratch there is one head. Pre-trained towers bring the heads for the digits that they have learned, which
    stay as they are; the towers are frozen and run once over all rows, and what follows them is trained on their
    features. The control has frozen towers without training, the same heads and the same number of epochs. It runs
    first, so that TensorFlow's own start is not on the bill of the two that are compared.
    """
    folder = unpacked("av_digits", archives)
    manifest = pd.read_csv(folder / "qa.csv", dtype=str)
    inputs = {"image": DIGIT, "audio": SPOKEN, "question": mk.Text(length=12)}
    for name in ("image", "audio"):
        manifest[name] = [str(folder / path) for path in manifest[name]]
    own = {f"{name}_digit": mk.Category(reads=name) for name in ("image", "audio")}
    one, several = (
        mk.read(manifest, mk.Schema(inputs, {"answer": mk.Category(), **more})).split("split") for more in ({}, own)
    )
    spec = mk.ModelSpec(towers=towers("image", "audio"), fusion={"kind": "concat", "depth": 2})
    found = {"control": after_towers(several, spec, seed, time.process_time())}
    options = {"epochs": 12, "learning_rate": 2e-3, "augment": LISTEN}  # without a warm-up it comes to less
    found["scratch"] = course(one, spec, options, seed, time.process_time())

    start, single = time.process_time(), {}
    for name in ("image", "audio"):
        rows = manifest[manifest["split"] == "train"].drop_duplicates(name)  # what the question rows show, once each
        targets = {"digit": mk.Category(column=f"{name}_digit"), f"{name}_digit": mk.Category(reads=name)}
        schema = mk.Schema({name: inputs[name]}, targets)
        alone = mk.ModelSpec(towers=towers(name), fusion={"kind": "concat", "depth": 1})
        options = {"epochs": 10, "learning_rate": 2e-3, "augment": {name: TURNED[name]}}
        single[name] = trained(mk.read(rows, schema).split("split"), alone, options, seed=seed)
    found["pretraining"] = time.process_time() - start

    def move(model):
        for name, source in single.items():
            assert mk.transfer_weights(source, model, towers=[name])["moved"].all()
            head, learned = (one.get_layer("body").get_layer(f"{name}_digit") for one in (model, source))
            head.set_weights(learned.get_weights())

    found["pretrained"] = after_towers(several, spec, seed, start, move)
    return found


def course(data: mk.Splits, spec: mk.ModelSpec, options: dict, seed: int, start: float) -> dict:
    """CPU-seconds since `start` and validation accuracy after each epoch, and the test accuracy at the end."""
    watch = Watch(start)
    model = trained(data, spec, options, seed=seed, validate=True, callbacks=[watch])
    return watch.found(accuracy(model, data["test"]))


def after_towers(
    data: mk.Splits,
    spec: mk.ModelSpec,
    seed: int,
    start: float,
    before: Callable[[keras.Model], object] = lambda model: None,
) -> dict:
    """As `course`, of what follows the towers of pictures and recordings, which are frozen and run once."""
    training = Training(epochs=8, learning_rate=3e-3, batch_size=128, seed=seed)
    model, frozen = prepare(data.schema, spec, training, len(data["train"])), ["image", "audio"]
    before(model)
    rest, watch = mk.features_model(model, data.schema, frozen), Watch(start)
    (x, y, _), val = (mk.extract_features(model, data[split], frozen) for split in ("train", "val"))
    compile_for(rest, data.schema, spec, training, len(data["train"]), steps_per_execution=16)
    rest.fit(x, y, validation_data=val, batch_size=128, epochs=training.epochs, callbacks=[watch], verbose=2)
    return watch.found(accuracy(model, data["test"]))
