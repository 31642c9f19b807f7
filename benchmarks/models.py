"""A model of a spec, trained and measured, as the cells of repertoire.py and transfer.py do it."""

from collections.abc import Callable, Sequence

import keras

import mmkeras as mk
from mmkeras.training import Training, fit, prepare


def trained(
    splits: mk.Splits,
    spec: mk.ModelSpec,
    options: dict,
    *,
    seed: int,
    before: Callable[[keras.Model], object] = lambda model: None,
    validate: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> keras.Model:
    """A model of the spec, trained.

    Args:
        splits: with "train", and "val" to validate.
        spec: of the model.
        options: of `Training`; the batch size is 64 and the warm-up one epoch, unless they say otherwise.
        seed: of everything random.
        before: function of the model, which may change it before training.
        validate: measure the validation rows after each epoch.
        callbacks: of `fit`.
    """
    training = Training(**{"warm_up": 1, "batch_size": 64, **options}, seed=seed)
    model = prepare(splits.schema, spec, training, len(splits["train"]))
    before(model)
    data = {name: splits[name] for name in (("train", "val") if validate else ("train",))}
    fit(model, data, spec, training, callbacks=[*callbacks], verbose=2)
    return model


def accuracy(model: keras.Model, records: mk.Records) -> float:
    """Accuracy of the first target."""
    scores = model.evaluate(mk.batches(records, 256), return_dict=True, verbose=0)
    return scores["accuracy" if len(records.schema.targets) == 1 else f"{next(iter(records.schema.targets))}_accuracy"]
