"""How good a model is, and which of its modalities contribute."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import keras
import numpy as np
import pandas as pd

from mmkeras.checks import check_whole, checked_keywords, is_number
from mmkeras.errors import InputError, shown
from mmkeras.evaluation.prediction import answers_of
from mmkeras.evaluation.scores import Scorer, check_model, without
from mmkeras.pipeline import batches, readable, truths
from mmkeras.pipeline.kept import Store
from mmkeras.records import Records
from mmkeras.tasks import Task, tasks_of


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        metrics: dict of name -> float, as `model.evaluate(..., return_dict=True)` gives them; and the tasks' own
            `scores` of the decoded outputs.
        subsets: DataFrame, one row for each subset of the modalities and each target: "modalities" (tuple of input
            names, those that the model saw), "missing" (tuple of the optional inputs among the others: the model saw
            their missing tokens instead; the rest was shuffled), "target", "metric", "score" (mean over the
            permutations), "spread" (their standard deviation) and "permutations" (0 where nothing was shuffled).
    """

    metrics: dict[str, float]
    subsets: pd.DataFrame

    def __repr__(self) -> str:
        table = self.subsets.drop(columns="missing").assign(
            modalities=self.subsets["modalities"].map(lambda names: " + ".join(names) or "none")
        )
        figures = ", ".join(f"{name} {value:.4f}" for name, value in self.metrics.items())
        return f"{figures}\nscore of every subset of the modalities, the others {self._ways()}:\n" + (
            table.to_string(index=False, float_format=lambda value: f"{value:.3f}")
        )

    def _ways(self):
        """How the modalities outside a subset were replaced; the last row is the empty subset."""
        missing, every = self.subsets["missing"].iloc[-1], self.subsets["modalities"].iloc[0]
        if not missing:
            return "shuffled among the rows"
        if len(missing) == len(every):
            return "replaced by their missing tokens"
        return f"shuffled among the rows ({', '.join(missing)}: replaced by the missing token)"


@checked_keywords
def evaluate(
    model: keras.Model, records: Records, *, batch_size: int = 256, permutations: int = 5, seed: int = 0
) -> Evaluation:
    """Metrics on the records, and the score of every subset of the modalities.

    An optional modality outside a subset is missing in every row: the model gets its missing token. The others outside
    are shuffled among the rows, each by a permutation of its own, so the model gets real values that belong to other
    rows (permutation importance: Breiman, 2001). If `build` made the model, its towers run only once for all subsets.

    Args:
        model: compiled `keras.Model` whose inputs are the schema's.
        records: `Records` with a fitted schema.
        batch_size: rows at a time.
        permutations: each score of a subset with shuffled inputs is the mean over this many permutations.
        seed: of the permutations.

    Returns:
        `Evaluation`.

    Raises:
        InputError: a model that is not compiled or does not belong to the schema.
    """
    if not model.compiled:
        raise InputError("evaluate: the model is not compiled; use model.compile(..., **mk.compile_args(schema))")
    check_whole(permutations, "permutations", "evaluate: ")
    check_whole(batch_size, "batch_size", "evaluate: ")
    check_whole(seed, "seed", "evaluate: ", least=0)
    check_model(model, records.schema, "evaluate")
    records = readable(records, targets=True)
    records.require_rows("evaluate")
    metrics = model.evaluate(batches(records, batch_size), return_dict=True, verbose=0)
    metrics, decoded = (
        {name: float(value) for name, value in metrics.items()},
        _decoded_scores(model, records, batch_size),
    )
    if twice := metrics.keys() & decoded.keys():
        raise InputError(
            f"evaluate: expected scores of the tasks with other names than the metrics', received {min(twice)!r}"
        )
    metrics |= decoded
    subsets = pd.DataFrame(_subset_scores(model, records, batch_size, permutations, np.random.default_rng(seed)))
    return Evaluation(metrics, subsets)


def _decoded_scores(model: keras.Model, records: Records, batch_size: int) -> dict[str, float]:
    """The tasks' own `scores`; named as Keras names metrics, with the target's name first if there are several."""
    schema, found = records.schema, {}
    tasks = {name: task for name, task in tasks_of(model, schema).items() if type(task).scores is not Task.scores}
    if not tasks or not len(records):
        return {}
    truth, answers = truths(records), _gathered(model, records, batch_size, tasks)
    for name, task in tasks.items():
        there = records.there(name)
        parts = answers[name] if there.all() else {part: values[there] for part, values in answers[name].items()}
        own = truth[name].take(there).array()
        for score, value in task.scores(own, parts, schema.targets[name]).items():
            found[f"{name}_{score}" if len(schema.targets) > 1 else score] = float(value)
    return found


def _gathered(
    model: keras.Model, records: Records, batch_size: int, tasks: Mapping[str, Task]
) -> dict[str, dict[str, np.ndarray]]:
    """The decoded outputs of all rows: dict of target -> part -> `(rows, ...)`, beyond `records.memory` on disk."""
    stores: dict[str, dict[str, Store]] = {name: {} for name in tasks}
    words: dict[str, dict[str, list]] = {name: {} for name in tasks}
    for batch in answers_of(model, records, batch_size):
        for name in tasks:
            for part, values in batch[name].items():
                if values.dtype == object:
                    words[name].setdefault(part, []).append(values)
                    continue
                if part not in stores[name]:
                    shape, dtype = (len(records), *values.shape[1:]), str(values.dtype)
                    stores[name][part] = Store(shape, dtype, dtype, records.memory, records.cache)
                stores[name][part].append(values)
    return {
        name: {part: np.concatenate(values) for part, values in words[name].items()}
        | {part: store.values for part, store in stores[name].items()}
        for name in tasks
    }


def _subset_scores(
    model: keras.Model, records: Records, batch_size: int, permutations: int, random: np.random.Generator
) -> Iterator[dict]:
    features = records.schema.inputs
    scorer = Scorer(model, records, batch_size)
    values = scorer.values

    def scores(missing, shuffled):
        changed = {name: without(values[name], slice(None)) for name in missing}
        for name in sorted(shuffled, key=list(features).index):
            rows = random.permutation(len(records))
            changed[name] = [tensor[rows] for tensor in values[name]]
        return scorer.score(values | changed)

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


@checked_keywords
def missing_modality_curve(
    model: keras.Model,
    records: Records,
    shares: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    *,
    repeats: int = 3,
    batch_size: int = 256,
    seed: int = 0,
) -> pd.DataFrame:
    """The score of a model against the share of rows in which a modality is missing.

    In randomly sampled rows the model gets the missing token although the modality is there: of each optional input in
    turn, and of all of them at once, each in rows of its own. If `build` made the model, its towers run once.

    Args:
        model: `keras.Model` whose inputs are the schema's.
        records: `Records` with a fitted schema of at least one input with `optional=True`.
        shares: of the rows, 0 to 1.
        repeats: each score is the mean over this many samples of rows; the shares 0 and 1 need one.
        batch_size: rows at a time.
        seed: of the sampling.

    Returns:
        DataFrame, one row for each input (or "all"), share and target: "modality", "share", "target", "metric",
        "score" (the target's first metric) and "spread" (standard deviation over the samples).

    Raises:
        InputError: no optional input, shares outside 0 to 1.
    """
    check_model(model, records.schema, "missing_modality_curve")
    optional = [name for name, feature in records.schema.inputs.items() if feature.optional]
    if not optional:
        raise InputError(
            f"missing_modality_curve: expected an input with optional=True, received {', '.join(records.schema.inputs)}"
        )
    if not len(shares) or not all(is_number(share, 0, most=1) for share in shares):
        raise InputError(f"missing_modality_curve: expected shares from 0 to 1, received {shown(shares)}")
    check_whole(repeats, "repeats", "missing_modality_curve: ")
    check_whole(batch_size, "batch_size", "missing_modality_curve: ")
    check_whole(seed, "seed", "missing_modality_curve: ", least=0)
    records = readable(records, targets=True)
    records.require_rows("missing_modality_curve")
    scorer = Scorer(model, records, batch_size)
    values = scorer.values
    random, count = np.random.default_rng(seed), len(records)

    def scores(names, share):
        rows = {name: random.permutation(count)[: round(share * count)] for name in names}
        return scorer.score(values | {name: without(values[name], rows[name]) for name in names})

    table = []
    cases = {name: [name] for name in optional} | ({"all": optional} if len(optional) > 1 else {})
    for (case, names), share in product(cases.items(), shares):
        found = [scores(names, share) for _ in range(repeats if 0 < share < 1 else 1)]
        for target, (metric, _) in found[0].items():
            drawn = [run[target][1] for run in found]
            table.append((case, share, target, metric, float(np.mean(drawn)), float(np.std(drawn))))
    return pd.DataFrame(table, columns=["modality", "share", "target", "metric", "score", "spread"])
