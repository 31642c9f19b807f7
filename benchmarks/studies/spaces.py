"""Two modalities in one space: retrieval of the one by the other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import keras
import pandas as pd
from sets import CACHE

import mmkeras as mk
from mmkeras.training import Training, compile_for
from studies.shared import TURNED, digits, towers

BESIDE = ("contrastive", "siglip", "mse", "kl", "adversarial", "generator", "misa")
WAYS = (("image", "audio"), ("audio", "image"))


def space(archives: Path, seed: int) -> dict:
    """Retrieval between written and spoken digits, of pairs without labels."""
    pairs = digits(archives, {"image": "image", "audio": "audio"})
    rows = {name: replaced(part, {}) for name, part in pairs.items()}
    return {
        kind: scored(rows, {"kind": kind}, {"epochs": 12, "augment": TURNED}, seed)
        for kind in ("contrastive", "siglip")
    }


def heads(archives: Path, seed: int) -> dict:
    """The same beside heads for the digit, on both and on each modality, that read the space.

    At half the epochs and a third of the rate only contrastive, siglip and mse had got anywhere.
    """
    pairs = digits(archives, {"image": "image", "audio": "audio"})
    targets = {**pairs.schema.targets, **own_labels()}
    rows, found = {name: replaced(part, targets) for name, part in pairs.items()}, {}
    options = {"epochs": 12, "learning_rate": 3e-3, "augment": TURNED}
    for kind in BESIDE:
        own = {"kind": "adversarial", "form": "generator"} if kind == "generator" else {"kind": kind}
        found[kind] = scored(rows, {**own, "through": True}, options, seed)
    return found


def pictures_and_questions(archives: Path, seed: int) -> dict:
    """Retrieval between pictures and the questions that fit them: right is what names a colour or form in common.

    Beside it the same model before training.
    """
    table = fitting(mk.datasets.easy_vqa(CACHE / "easy_vqa"))
    schema = mk.Schema({"image": mk.Image(64, 64, 3, shared=True), "question": mk.Text(length=12)}, {})
    rows = mk.read(table, schema).split("split")
    chosen = {"image": {"kind": "conv", "filters": 16, "depth": 3}, "question": "bag"}
    ways, found = (("image", "question"), ("question", "image")), {}
    for case, epochs in (("untrained", 0), ("contrastive", 12)):
        options = {"epochs": epochs, "augment": None}
        found[case] = scored(rows, {"kind": "contrastive"}, options, seed, chosen, ways, "thing")
    return found


def fitting(manifest: Path) -> pd.DataFrame:
    """easy-VQA's rows whose question names what the picture has ("thing"): those asked without "no" or "not" and
    answered otherwise than "no". Of "test", those pictures of which both the colour and the form are asked.
    """
    table = pd.read_csv(manifest, dtype=str)
    things = "circle rectangle triangle black blue brown gray green red teal yellow"
    table["thing"] = table["question"].str.extract(rf"\b({things.replace(' ', '|')})\b", expand=False)
    denied = table["question"].str.contains(r"\b(?:no|not)\b") | (table["answer"] == "no")
    table = table[table["thing"].notna() & ~denied]
    both = table.groupby(["split", "image"])["thing"].transform("nunique") == 2
    return table[both | (table["split"] != "test")]


def own_labels() -> dict[str, mk.Category]:
    kinds = {f"{name}_label": (name, "label") for name in ("image", "audio")}
    classes = list("0123456789")
    return {key: mk.Category(classes=classes, column=column, reads=name) for key, (name, column) in kinds.items()}


def replaced(records: mk.Records, targets: dict) -> mk.Records:
    """The records with other targets."""
    return replace(records, schema=mk.Schema(records.schema.inputs, targets))


def scored(
    data: dict[str, mk.Records] | mk.Splits,
    align: dict,
    options: dict,
    seed: int,
    chosen: dict | None = None,
    ways: Sequence[tuple[str, str]] = WAYS,
    relevant: str = "label",
    k: Sequence[int] = (1, 5, 10),
) -> dict[str, dict[str, float]]:
    """A model with this loss, trained, and how well each modality finds the other among the test rows.

    Args:
        data: with "train" and "test".
        align: how the modalities are brought into one space, as `mk.build` takes it.
        options: of `Training`; 0 epochs: no training.
        seed: of everything random.
        chosen: towers; None: those of digits.
        ways: pairs of the input that is asked with and the one that is found.
        relevant: column whose value two rows must have in common.
        k: numbers of rows found that count.

    Returns:
        dict of way -> dict of measure -> value.
    """
    spec = mk.ModelSpec(towers=chosen or towers("image", "audio"), align={**align, "dim": 64}, fusion="concat")
    options, epochs = {**options, "epochs": max(options["epochs"], 1)}, options["epochs"]
    schema, training = data["train"].schema, Training(warm_up=1, batch_size=128, **options, seed=seed)
    keras.utils.set_random_seed(seed)
    model = mk.build(schema, spec)
    if schema.targets:
        compile_for(model, schema, spec, training, len(data["train"]))
    else:
        steps = training.epochs * -(-len(data["train"]) // 128)
        model.compile(keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(1e-3, steps), weight_decay=0.01))
    rows = mk.batches(data["train"], 128, training=True, targets=bool(schema.targets), augment=training.augment)
    model.fit(rows, epochs=epochs, shuffle=False, verbose=2)
    found, table = mk.retrieve(model, data["test"]), {}
    for by, find in ways:
        scores = found.scores(by, find, relevant, k=k)["score"]
        table[f"{by} to {find}"] = {name: float(score) for name, score in scores.items()}
    return table
