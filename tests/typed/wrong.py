"""A wrong argument on each line that ignores an error: warn_unused_ignores says where a type checker did not see it."""

import keras

import mmkeras as mk

model: keras.Model
schema = mk.Schema({"image": mk.Image(8, 8)}, {"answer": mk.Category()})
records = mk.read("manifest.csv", schema)

mk.Image("8", 8)  # type: ignore[arg-type]
mk.Image(8, 8, optional="yes")  # type: ignore[arg-type]
mk.Text(length="16")  # type: ignore[arg-type]
mk.Audio(rate=8000, seconds=1.0)  # type: ignore[call-arg]
mk.Category(classes=3)  # type: ignore[arg-type]
mk.Number(unit=3)  # type: ignore[arg-type]
mk.Schema({"image": "Image"}, {})  # type: ignore[dict-item]
mk.Schema({"image": mk.Category()}, {})  # type: ignore[dict-item]
mk.read(3, schema)  # type: ignore[arg-type]
mk.read("manifest.csv", "schema")  # type: ignore[arg-type]
mk.read("manifest.csv", schema, on_bad="drp")  # type: ignore[arg-type]
records.split(3)  # type: ignore[arg-type]
mk.combine([records])  # type: ignore[arg-type]
mk.batches("manifest.csv", 32)  # type: ignore[arg-type]
mk.batches(records, "32")  # type: ignore[arg-type]
mk.batches(records, 32, shard=4)  # type: ignore[arg-type]
mk.write_shards(records, "folder", shards="4")  # type: ignore[arg-type]
mk.build(records)  # type: ignore[arg-type]
mk.build(schema, width="128")  # type: ignore[arg-type]
mk.build(schema, towers=["conv"])  # type: ignore[arg-type]
mk.build(schema, fusoin="concat")  # type: ignore[call-arg]
mk.ModelSpec(width=None)  # type: ignore[arg-type]
mk.compile_args(records)  # type: ignore[arg-type]
mk.freeze(model, ["image"], frozen="no")  # type: ignore[arg-type]
mk.learning_rate_multipliers("adam", model, [0.1])  # type: ignore[arg-type]
mk.transfer_weights(model, model, body="yes")  # type: ignore[arg-type]
mk.evaluate(model, schema)  # type: ignore[arg-type]
mk.predict(model, records, batch_size="8")  # type: ignore[arg-type]
mk.retrieve(model, "records")  # type: ignore[arg-type]
mk.tune(records, trials="3")  # type: ignore[arg-type]
mk.save(3, model, schema)  # type: ignore[arg-type]
mk.save("file", model, schema, "spec")  # type: ignore[arg-type]
mk.load(None)  # type: ignore[arg-type]
mk.export(model, schema, 3)  # type: ignore[arg-type]
mk.verify("folder", seconds="60")  # type: ignore[arg-type]
mk.read_word_vectors("vectors.txt", 3)  # type: ignore[arg-type]
mk.datasets.keypad("data", rows="300")  # type: ignore[arg-type]
mk.towers.register(3)  # type: ignore[arg-type]
mk.bild(schema)  # type: ignore[attr-defined]
