"""Students that learn from a teacher: with few labels, and of one modality where the teacher has both."""

from pathlib import Path

import keras
from models import accuracy, trained
from sets import digits_hard

import mmkeras as mk
from studies.shared import LISTEN, digits, towers


def few_labels(archives: Path, seed: int) -> dict:
    """Recordings with 10 labels a class: alone, and taught by an image teacher over the pairs."""

    def ten(table):
        """A column with the label of ten training rows of each digit, "" elsewhere."""
        training = table[table["split"] == "train"]
        kept = training.groupby("label").sample(10, random_state=seed).index
        few = table["label"].where(~table.index.isin(training.index) | table.index.isin(kept), "")
        return table.assign(few=few)

    def labelled(table):
        return ten(table)[lambda rows: rows["few"] != ""]

    seen = digits(archives, {"image": "image"})
    alone = digits(archives, {"audio": "audio"}, edit=labelled)
    pairs = digits(archives, {"image": "image", "audio": "audio"}, label="few", optional=True, edit=ten)
    one = {"kind": "concat", "depth": 1}
    see, hear = (mk.ModelSpec(towers=towers(name), fusion=one) for name in ("image", "audio"))
    picture = {"image": {"crop": 0.1, "rotate": 10}}
    teacher = trained(seen, see, {"epochs": 8, "learning_rate": 2e-3, "augment": picture}, seed=seed)
    found = {"teacher": accuracy(teacher, seen["test"])}
    by_itself = {"epochs": 150, "batch_size": 32, "augment": LISTEN}
    found["alone"] = accuracy(trained(alone, hear, by_itself, seed=seed), alone["test"])
    schema = with_targets_of(alone.schema, pairs.schema)
    keras.utils.set_random_seed(seed)
    student = mk.build(schema, hear)
    taught(teacher, student, (with_targets_of(seen.schema, pairs.schema), schema), pairs, LISTEN, 12, seed, 0.1)
    student.compile("adam", **mk.compile_args(alone.schema))
    found["taught"] = accuracy(student, alone["test"])
    return found


def with_targets_of(schema: mk.Schema, other: mk.Schema) -> mk.Schema:
    """The schema with the targets of another."""
    return mk.Schema(schema.inputs, other.targets)


def taught(
    teacher: keras.Model,
    student: keras.Model,
    schemas: tuple[mk.Schema, mk.Schema],
    data: mk.Splits,
    augment: dict | None,
    epochs: int,
    seed: int,
    student_loss_weight: float,
) -> None:
    """Train a student by a teacher's outputs, with the schedule of all."""
    steps = epochs * -(-len(data["train"]) // 64)
    schedule = keras.optimizers.schedules.CosineDecay(0.0, steps, warmup_target=1e-3, warmup_steps=steps // epochs)
    distiller = mk.distiller(teacher, student, schemas, student_loss_weight=student_loss_weight)
    distiller.compile(keras.optimizers.AdamW(schedule, weight_decay=0.01), **mk.compile_args(schemas[1]))
    rows = mk.batches(data["train"], 64, training=True, augment=augment, seed=seed)
    distiller.fit(rows, epochs=epochs, shuffle=False, verbose=2)


def students(archives: Path, seed: int) -> dict:
    """Degraded digits: students of one modality, with and without a teacher of both."""
    both = digits_hard(archives)[0]
    spec = mk.ModelSpec(towers=towers("image", "audio"), fusion={"kind": "concat", "depth": 2, "dropout": 0.1})
    options = {"epochs": 12, "warm_up": 2, "augment": LISTEN}
    teacher = trained(both, spec, options, seed=seed)
    found = {"teacher of both": accuracy(teacher, both["test"])}
    for name in ("image", "audio"):
        own = digits(archives, {name: f"{name}_hard"})
        alone = mk.ModelSpec(towers=towers(name), fusion={"kind": "concat", "depth": 1})
        augment = LISTEN if name == "audio" else None
        found[f"{name} alone"] = accuracy(trained(own, alone, {**options, "augment": augment}, seed=seed), own["test"])
        keras.utils.set_random_seed(seed)
        student = mk.build(own.schema, alone)
        taught(teacher, student, (both.schema, own.schema), both, augment, 12, seed, 0.5)
        student.compile("adam", **mk.compile_args(own.schema))
        found[f"{name} taught"] = accuracy(student, own["test"])
    return found
