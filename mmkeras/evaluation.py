"""How good a model is, and which of its modalities it owes that to."""

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pandas as pd
from keras import ops

from mmkeras.errors import InputError
from mmkeras.model import by_target, halves
from mmkeras.pipeline import batches, labels, readable, row_weights
from mmkeras.schema import Category, Number
from mmkeras.tasks import compile_args


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        metrics: dict of name -> float, as `model.evaluate(..., return_dict=True)` gives them.
        subsets: DataFrame, one row for each subset of the modalities and each target: "modalities" (tuple of input
            names, those that the model saw), "missing" (tuple of the optional inputs among the others, in whose place
            the model saw their missing tokens; the rest was shuffled), "target", "metric", "score" (mean over the
            permutations), "spread" (their standard deviation) and "permutations" (0 where nothing was shuffled).
    """

    metrics: dict[str, float]
    subsets: pd.DataFrame

    def __repr__(self):
        table = self.subsets.drop(columns="missing").assign(
            modalities=self.subsets["modalities"].map(lambda names: " + ".join(names) or "none")
        )
        figures = ", ".join(f"{name} {value:.4f}" for name, value in self.metrics.items())
        return f"{figures}\nscore of every subset of the modalities, the others {self._ways()}:\n" + (
            table.to_string(index=False, float_format=lambda value: f"{value:.3f}")
        )

    def _ways(self):
        """What was done to the modalities outside a subset; the last row is the subset of none."""
        missing, every = self.subsets["missing"].iloc[-1], self.subsets["modalities"].iloc[0]
        if not missing:
            return "shuffled among the rows"
        if len(missing) == len(every):
            return "replaced by their missing tokens"
        return f"shuffled among the rows ({', '.join(missing)}: replaced by the missing token)"


def evaluate(model, records, *, batch_size=256, permutations=5, seed=0):
    """Metrics on the records, and the score of every subset of the modalities.

    An optional modality outside a subset is missing in every row: the model gets its missing token. The others outside
    are shuffled among the rows, each by a permutation of its own, so the model gets real values that belong to other
    rows (permutation importance: Breiman, 2001). If the model was made by `build`, its towers run once, whatever the
    number of subsets.

    Args:
        model: compiled `keras.Model` whose inputs are the schema's.
        records: `Records` with a fitted schema.
        batch_size: rows at a time.
        permutations: number of permutations that each subset's score is the mean of, where something is shuffled.
        seed: of the permutations.

    Returns:
        `Evaluation`.

    Raises:
        InputError: a model that is not compiled or does not belong to the schema.
    """
    if not model.compiled:
        raise InputError("evaluate: the model is not compiled; use model.compile(..., **mk.compile_args(schema))")
    if isinstance(permutations, bool) or not isinstance(permutations, int) or permutations < 1:
        raise InputError(f"evaluate: expected permutations to be a whole number above 0, received {permutations!r}")
    check_model(model, records.schema, "evaluate")
    records = readable(records, targets=True)
    metrics = model.evaluate(batches(records, batch_size), return_dict=True, verbose=0)
    subsets = pd.DataFrame(_subset_scores(model, records, batch_size, permutations, np.random.default_rng(seed)))
    return Evaluation({name: float(value) for name, value in metrics.items()}, subsets)


def check_model(model, schema, purpose):
    """Raise an `InputError` unless the schema is fitted and has targets, and the model's inputs and answers are its."""
    if not schema.targets:
        raise InputError(f"{purpose}: expected a schema with targets, received one without: nothing is answered")
    schema.require_fitted(purpose)
    expected = {name: shape for name, (shape, _) in schema.model_inputs.items()}
    received = {tensor.name: tuple(tensor.shape[1:]) for tensor in model.inputs}
    if list(received.items()) != list(expected.items()):
        raise InputError(f"{purpose}: expected a model with the schema's inputs {expected}, received {received}")
    for name, target in schema.targets.items():
        output = model.output[name] if isinstance(model.output, dict) else model.output
        if tuple(output.shape[1:]) == target.answer_shape:
            continue
        if target.answer_shape and len(output.shape) == 2:
            raise InputError(
                f"{purpose}: expected {len(target.classes)} outputs for {name!r}, one for each class of the schema, "
                f"received {output.shape[-1]}"
            )
        shape = ", ".join(["batch", *map(str, target.answer_shape)])
        raise InputError(f"{purpose}: expected answers ({shape}) for {name!r}, received {tuple(output.shape)}")


def _subset_scores(model, records, batch_size, permutations, random):
    features = records.schema.inputs
    values, score = _scorer(model, records, batch_size)

    def scores(missing, shuffled):
        changed = {name: _without(values[name], slice(None)) for name in missing}
        for name in sorted(shuffled, key=list(features).index):
            rows = random.permutation(len(records))
            changed[name] = [tensor[rows] for tensor in values[name]]
        return score(values | changed)

    for size in range(len(features), -1, -1):
        for kept in combinations(features, size):
            missing = tuple(name for name in features if name not in kept and features[name].optional)
            shuffled = set(features).difference(kept, missing)
            runs = permutations if shuffled else 0
            found = [scores(missing, shuffled) for _ in range(max(runs, 1))]
            for target, (metric, _) in found[0].items():
                values_found = [run[target][1] for run in found]
                yield {
                    "modalities": kept,
                    "missing": missing,
                    "target": target,
                    "metric": metric,
                    "score": float(np.mean(values_found)),
                    "spread": float(np.std(values_found)),
                    "permutations": runs,
                }


def _scorer(model, records, batch_size):
    """What the last stage of a model reads, as of `_last_stage`, and a function from values like these to scores."""
    stage, values = _last_stage(model, records, batch_size)
    truth = labels(records)
    weights = row_weights(records, truth)

    def score(values):
        inputs = [tensor for name in records.schema.inputs for tensor in values[name]]
        return _scores(records.schema, truth, weights, stage.predict(inputs, batch_size=batch_size, verbose=0))

    return values, score


def _without(tensors, rows):
    """An optional input's tensors with nothing present in some rows."""
    present = tensors[-1].copy()
    present[rows] = False
    return [*tensors[:-1], present]


def missing_modality_curve(model, records, shares=(0.0, 0.25, 0.5, 0.75, 1.0), *, repeats=3, batch_size=256, seed=0):
    """The score of a model against the share of rows in which a modality is missing.

    Rows are drawn in which the model gets the missing token although the modality is there: of each optional input in
    turn, and of all of them at once, each in rows of its own. If the model was made by `build`, its towers run once.

    Args:
        model: `keras.Model` whose inputs are the schema's.
        records: `Records` with a fitted schema of at least one input with `optional=True`.
        shares: of the rows, 0 to 1.
        repeats: number of draws that each score is the mean of; all and none need one.
        batch_size: rows at a time.
        seed: of the draws.

    Returns:
        DataFrame, one row for each input (or "all"), share and target: "modality", "share", "target", "metric",
        "score" (the target's first metric) and "spread" (standard deviation over the draws).

    Raises:
        InputError: no optional input, shares outside 0 to 1.
    """
    check_model(model, records.schema, "missing_modality_curve")
    optional = [name for name, feature in records.schema.inputs.items() if feature.optional]
    if not optional:
        raise InputError(
            f"missing_modality_curve: expected an input with optional=True, received {', '.join(records.schema.inputs)}"
        )
    if not len(shares) or not all(0 <= share <= 1 for share in shares):
        raise InputError(f"missing_modality_curve: expected shares from 0 to 1, received {shares!r}")
    records = readable(records, targets=True)
    values, score = _scorer(model, records, batch_size)
    random, count = np.random.default_rng(seed), len(records)

    def scores(names, share):
        rows = {name: random.permutation(count)[: round(share * count)] for name in names}
        return score(values | {name: _without(values[name], rows[name]) for name in names})

    table = []
    cases = {name: [name] for name in optional} | ({"all": optional} if len(optional) > 1 else {})
    for (case, names), share in product(cases.items(), shares):
        found = [scores(names, share) for _ in range(repeats if 0 < share < 1 else 1)]
        for target, (metric, _) in found[0].items():
            drawn = [run[target][1] for run in found]
            table.append((case, share, target, metric, float(np.mean(drawn)), float(np.std(drawn))))
    return pd.DataFrame(table, columns=["modality", "share", "target", "metric", "score", "spread"])


def _last_stage(model, records, batch_size):
    """The part of the model to run again and again, and what it reads: dict of input name -> list of `(rows, ...)`.

    For a model of `build` that is what follows the towers, which run once; else it is the whole model. The last of an
    optional input's list is `<name>_present`.
    """
    schema, data = records.schema, batches(records, batch_size, targets=False)
    parts = halves(model, schema)
    if parts:
        front, stage = parts
        return stage, front.predict(data, verbose=0)
    given = [{name: ops.convert_to_numpy(value) for name, value in batch.items()} for batch in data]
    tensors = {name: np.concatenate([batch[name] for batch in given]) for name in schema.model_inputs}
    own = {name: (name, f"{name}_length", f"{name}_present") for name in schema.inputs}
    return model, {name: [tensors[key] for key in keys if key in tensors] for name, keys in own.items()}


def _scores(schema, truth, weights, predictions):
    """The first metric of every head over the rows that have the target: dict of target -> (name, value)."""
    metrics = by_target(schema, compile_args(schema)["weighted_metrics"])
    scores = {}
    for name, answers in by_target(schema, predictions).items():
        metric = metrics[name][0]
        metric.update_state(truth[name], answers, sample_weight=weights.get(name))
        scores[name] = (metric.name, float(ops.convert_to_numpy(metric.result())))
    return scores


def predict(model, records, *, batch_size=256):
    """Predictions as a table.

    Args:
        model: `keras.Model` whose inputs are the schema's.
        records: `Records` with a fitted schema; their targets are not looked at.
        batch_size: rows at a time.

    Returns:
        DataFrame with the index of the records that can be read. For each `Category`: `<target>` (label),
        `<target>_score` (its probability) and `<target>_probability_<class>` for every class; for `Labels`: `<target>`
        (tuple of the labels above 0.5) and `<target>_probability_<class>`; for `Number`: `<target>` (in the unit).
    """
    schema = records.schema
    check_model(model, schema, "predict")
    records = readable(records)
    answers = by_target(schema, model.predict(batches(records, batch_size, targets=False), verbose=0))
    table = {}
    for name, target in schema.targets.items():
        table[name] = target.decode(answers[name])
        if isinstance(target, Category):
            table[f"{name}_score"] = answers[name].max(axis=1)
        if not isinstance(target, Number):
            table |= {f"{name}_probability_{c}": answers[name][:, i] for i, c in enumerate(target.classes)}
    return pd.DataFrame(table, index=records.frame.index)
