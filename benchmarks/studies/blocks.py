"""Transformer blocks moved from one modality to another."""

from pathlib import Path

from models import accuracy, trained
from sets import cifar10_mini, newsgroups20

import mmkeras as mk


def bodies(archives: Path, seed: int) -> dict:
    """Transformer towers on pictures and sentences: from scratch, with the other's blocks, with frozen blocks."""
    data = {"image": cifar10_mini(archives)[0], "text": newsgroups20(archives, length=96)[0]}
    kinds = {"image": {"kind": "vit", "patch": 4}, "text": {"kind": "transformer"}}
    kinds = {name: {**kind, "depth": 2, "heads": 4} for name, kind in kinds.items()}
    specs = {
        n: mk.ModelSpec(towers={n: kind}, fusion={"kind": "concat", "depth": 1}, width=64) for n, kind in kinds.items()
    }
    options = {"epochs": 6, "learning_rate": 1e-3}
    first = {name: trained(data[name], specs[name], options, seed=seed) for name in data}
    found = {f"{name}, from scratch": accuracy(model, data[name]["test"]) for name, model in first.items()}

    def blocks(model, name):
        return [layer for layer in model.get_layer(f"{name}_tower").layers if "_block" in layer.name]

    def changed(source, target, frozen):
        def before(model):
            if source:
                for old, new in zip(blocks(first[source], source), blocks(model, target), strict=True):
                    new.set_weights(old.get_weights())
            for layer in blocks(model, target) if frozen else ():
                layer.trainable = False

        return before

    for target, source in (("image", "text"), ("text", "image")):
        cases = {"the other's blocks": (source, False), "the other's blocks, frozen": (source, True)}
        for case, (given, frozen) in {**cases, "random blocks, frozen": (None, True)}.items():
            model = trained(data[target], specs[target], options, seed=seed, before=changed(given, target, frozen))
            found[f"{target}, {case}"] = accuracy(model, data[target]["test"])
    return found
