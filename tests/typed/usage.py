"""Right calls of the public names, for a type checker: tests/test_types.py has them read, nothing runs."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd

import mmkeras as mk

schema: mk.Schema = mk.Schema(
    inputs={
        "image": mk.Image(28, 28, 1, optional=True),
        "question": mk.Text(16, vocabulary=["what", "is"]),
        "audio": mk.Audio(sampling_rate=8000, seconds=1.0),
        "trace": mk.Series(20, 2),
        "table": mk.Tabular(["age"], ["town"]),
        "film": mk.Video(8, 32, 32, 3),
    },
    targets={"answer": mk.Category(classes=["yes", "no"]), "tags": mk.Labels(), "size": mk.Number(unit="g")},
)
again: mk.Schema = mk.Schema.from_json(schema.to_json())

records: mk.Records = mk.read(Path("manifest.csv"), schema, on_bad="drop", check="decode")
mk.read(pd.DataFrame(), schema, targets=False, missing=["image"])
data: mk.Splits = records.split({"train": 0.8, "val": 0.1, "test": 0.1}, seed=1)
train: mk.Records = data["train"]
both: mk.Records = mk.combine({"a": train, "b": data["val"]})
shards: mk.Shards = mk.write_shards(train, "shards", shards=4)
mk.batches(shards, 32, training=True, shard=(0, 4))
mk.batches(train, 32, augment={"image": {"crop": 0.1}}, class_weight={"answer": {"yes": 2.0}}, seed=0)

spec = mk.ModelSpec(towers={"image": "conv", "audio": {"kind": "spectrogram", "filters": 16}}, width=64)
model: keras.Model = mk.build(schema, spec)
mk.build(data.schema, towers={"question": "lstm"}, fusion={"kind": "concat", "depth": 2}, width=128)
mk.build(schema, tasks={"size": "linear"}, modality_dropout={"image": 0.1}, align={"kind": "contrastive", "dim": 64})
model.compile("adam", **mk.compile_args(schema, spec.tasks, model))
mk.freeze(model, ["image"], frozen=False)
optimizer = mk.learning_rate_multipliers(keras.optimizers.Adam(1e-3), model, {"image": 0.1})
moved: pd.DataFrame = mk.transfer_weights(model, model, ["image"], body=True, schemas=(schema, schema))
student = mk.distiller(model, model, (schema, schema), temperature=2.0)
view: keras.Model = mk.deduplicated_model(model, schema, "image")
mk.features_model(model, schema, ["image"])

evaluation: mk.Evaluation = mk.evaluate(model, data["test"], permutations=0)
accuracy: float = evaluation.metrics["accuracy"]
table: pd.DataFrame = mk.predict(model, data["test"], batch_size=8)
mk.missing_modality_curve(model, data["test"], [0.0, 0.5])
found: mk.Retrieval = mk.retrieve(model, data["test"], ["image", "question"])
pairs: mk.Records = mk.negative_pairs(data["train"], "question")

result: mk.TuningResult = mk.tune(data, trials=3, directory=Path("tuning"), space={"width": [8, 16]}, epochs=2)
best: mk.ModelSpec = result.best

path: Path = mk.save("keypad.mmkeras", model, schema, spec)
loaded, loaded_schema, loaded_spec = mk.load(path)
loaded_schema.require_fitted("this")
version: Path = mk.export(model, schema, "saved_models/keypad", records=data["test"], spec=spec, notes="none")
verification: mk.Verification = mk.verify(version, ways=["load"], seconds=60)
passed: bool = verification.passed

vectors: mk.WordVectors = mk.read_word_vectors("vectors.txt", ["what", "is"])
manifest: Path = mk.datasets.keypad("data", rows=300)
tokens = mk.Tokens(np.zeros((2, 3, 4)), None)
name: str = mk.__version__


@mk.towers.register("mine")
def tower(x, feature, *, width, name):
    """A tower of one's own."""
    return mk.towers.conv(x, feature, width=width, name=name)


run: mk.Run = mk.train(data, epochs=3, average=0.999, augment=False, directory="runs/one")
run.evaluate().metrics["accuracy"]
