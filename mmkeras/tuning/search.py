"""`mk.tune`: the search itself."""

import contextlib
import gc
import json
import os
import shutil
import threading
import time
from functools import partial
from pathlib import Path

import keras
import keras_tuner

from mmkeras.errors import InputError, unknown
from mmkeras.training import Training
from mmkeras.tuning.child import run_in_child, write_job
from mmkeras.tuning.model import Space, SpecModel, require_splits
from mmkeras.tuning.oracle import LOST_AFTER, oracle_of
from mmkeras.tuning.result import TuningResult
from mmkeras.tuning.space import objective_of, space_of
from mmkeras.tuning.trial import WEIGHTS, Outcome, Request, run, write_json

TUNERS, ISOLATIONS = ("bayesian", "random", "hyperband"), ("process", "none")
SCHEMA, SETTINGS = "schema.json", "search.json"


def tune(
    data,
    *,
    space=None,
    tuner="bayesian",
    trials=30,
    directory="tuning",
    objective=None,
    isolation="process",
    workers=1,
    time_limit=None,
    overwrite=False,
    seed=0,
    **training,
):
    """Search for the best `ModelSpec`, and for the learning rate and batch size that suit it.

    It is KerasTuner underneath, and `directory` is a project of KerasTuner's. Each trial is trained in a process of its
    own, so that its memory is given back and a crash is its own failure; a trial that fails, by an invalid combination,
    a loss that is no number, a lack of memory or the time limit, is entered with the reason, and the search goes on.
    Stopped or killed at any moment, the same call goes on where it was.

    Over several machines with a common folder: see `mmkeras tune --help`, or set KerasTuner's own variables
    KERASTUNER_TUNER_ID ("chief", or a name of the worker), KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT, and make
    the same call in every process. The trial of a worker that gives no sign of life for a minute goes to another.

    Args:
        data: mapping of "train" and "val" to `Records` or `Shards` with one fitted schema, as from `records.split`.
        space: what is chosen from. None: kinds of fusion and towers, widths, depth, dropout, learning rate and batch
            size, see `mmkeras.tuning.space.domains`; a dict of some of these names to other choices, as
            `{"fusion": ["concat", "gated"], "width": [32, 64], "image": {"kind": "conv", "filters": 16}}`; or a
            function `hp -> ModelSpec` of KerasTuner's hyperparameters, of which "learning_rate" and "batch_size" are
            taken for the training.
        tuner: "bayesian" (a third of the trials at random, then by a Gaussian process), "random" or "hyperband".
        trials: how many, the failed ones too.
        directory: folder of the search.
        objective: metric on the validation rows, as "val_accuracy"; None: the first metric of the first target. A
            trial's score is that of its best epoch.
        isolation: "process", or "none": trials run in this process, which starts faster, but a crash ends the search.
        workers: number of trials at a time, with isolation="process"; each gets its share of the processor's cores.
        time_limit: minutes for a trial.
        overwrite: begin anew, and delete what is in the directory.
        seed: of the search and of every trial.
        training: options of `mmkeras.training.Training`: epochs, augment, class_weight, group_by, weight_decay, ...

    Returns:
        `TuningResult`.

    Raises:
        InputError: an unknown option; a directory that holds another search; not one trial that was completed, with
            their reasons.
    """
    _check(tuner, trials, isolation, workers, time_limit)
    require_splits(data, "tune")
    schema = data["train"].schema
    name, direction = objective_of(schema, objective)
    model = SpecModel(data, space_of(schema, space), Training.from_options({**training, "seed": seed}))
    folder = Path(directory).absolute()
    if overwrite and not _is_worker():
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"tuner": tuner, "objective": [name, direction], "seed": seed, "training": training}
    _same_search(folder, schema, settings)
    oracle = oracle_of(tuner, keras_tuner.Objective(name, direction), trials, model.training.epochs, seed + 1)
    with _runner({split: data[split] for split in ("train", "val")}, folder, isolation, workers, time_limit) as runner:
        search = Search(oracle, model, runner, folder)
        try:
            search.run(workers)
        except KeyboardInterrupt:
            print(f"\ninterrupted; the same call goes on.\n{TuningResult.load(folder, complete=False)}")
            raise
    return TuningResult.load(folder)


def _check(tuner, trials, isolation, workers, time_limit):
    if tuner not in TUNERS:
        raise unknown("tuner", tuner, TUNERS)
    if isolation not in ISOLATIONS:
        raise unknown("isolation", isolation, ISOLATIONS)
    for name, value in (("trials", trials), ("workers", workers)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"tune: expected {name} to be a whole number above 0, received {value!r}")
    if workers > 1 and isolation == "none":
        raise InputError(f"tune: expected isolation='process' with workers={workers}, received 'none'")
    if time_limit is not None and not time_limit > 0:
        raise InputError(f"tune: expected time_limit to be minutes above 0, received {time_limit!r}")


def _same_search(folder, schema, settings):
    """Enter what is searched for, or raise an `InputError` if the folder holds another search."""
    found = json.loads(json.dumps({**settings, "schema": json.loads(schema.to_json())}, default=str))
    path = folder / SETTINGS
    if not path.exists():
        write_json(path, found)
        schema.save(folder / SCHEMA)
    there = json.loads(path.read_text(encoding="utf-8"))
    for key, value in found.items():
        if there.get(key) != value:
            raise InputError(
                f"tune: {str(folder)!r} holds a search with another {key}: expected {there.get(key)!r}, received "
                f"{value!r}; give another directory, or overwrite=True"
            )


def _is_worker():
    return "chief" not in os.environ.get("KERASTUNER_TUNER_ID", "chief")


@contextlib.contextmanager
def _runner(data, folder, isolation, workers, time_limit):
    """A function `(request, folder, **options) -> Outcome`."""
    seconds = None if time_limit is None else 60 * time_limit
    if isolation == "none":
        yield partial(_run_here, data, seconds=seconds)
        return
    job = folder / f"job-{os.environ.get('KERASTUNER_TUNER_ID', 'tuner0')}"
    write_job(data, job)
    threads = max(1, os.cpu_count() // workers) if workers > 1 else None
    try:
        yield partial(run_in_child, job, seconds=seconds, threads=threads)
    finally:
        shutil.rmtree(job, ignore_errors=True)


def _run_here(data, request, folder, *, beat=None, **options):
    outcome = run(data, request, folder, verbose=0, **options)
    keras.backend.clear_session()
    gc.collect()
    if beat:
        beat()
    return outcome


class Search(keras_tuner.Tuner):
    """KerasTuner's Tuner, whose trials are run by `runner`."""

    def __init__(self, oracle, hypermodel, runner, folder):
        self.runner, self.folder = runner, folder
        if os.environ.get("KERASTUNER_ORACLE_IP"):
            oracle.lost_after = LOST_AFTER
        oracle.verbose = 0
        self._lasting = oracle
        super().__init__(oracle, hypermodel, directory=str(folder.parent), project_name=folder.name)
        self.save()  # from here on there is something to reload

    def _populate_initial_space(self):
        """Ask the space for its hyperparameters; no model needs to be built for that."""
        own, self.hypermodel = self.hypermodel, Space(self.hypermodel)
        super()._populate_initial_space()
        self.hypermodel = own

    def save(self):
        """Write the tuner's and the oracle's files, each whole or not at all."""
        if not self._is_worker():
            self.oracle.save()
        write_json(Path(self._get_tuner_fname()), self.get_state())

    def run(self, workers):
        """The whole search; of a chief, until all workers are done."""
        if os.environ.get("KERASTUNER_ORACLE_IP") and not _is_worker():
            threading.Thread(target=self._watch_workers, daemon=True).start()
            self.search(verbose=0)
            return
        if workers == 1:
            self._work(self.tuner_id)
            return
        errors = []
        threads = []
        for name in (f"tuner{number}" for number in range(workers)):
            threads += [threading.Thread(target=self._work_or_tell, args=(name, errors), daemon=True, name=name)]
            threads[-1].start()
        while any(thread.is_alive() for thread in threads) and not errors:
            time.sleep(0.2)
        if errors:
            raise errors[0]

    def _work_or_tell(self, tuner_id, errors):
        try:
            self._work(tuner_id)
        except BaseException as error:
            errors.append(error)

    def _watch_workers(self):
        while True:
            time.sleep(2)
            self._lasting.take_back()

    def _work(self, tuner_id):
        """Trial after trial, until there is none left."""
        while True:
            trial = self.oracle.create_trial(tuner_id)
            if trial.status == "STOPPED":
                return
            if trial.status == "IDLE":
                time.sleep(1)
                continue
            self._try_run_and_update_trial(trial)
            self.oracle.end_trial(trial)

    def run_trial(self, trial):
        """Train and score the trial's spec, unless it was done already; the history."""
        folder, request = Path(self.get_trial_dir(trial.trial_id)), self._request(trial.hyperparameters)
        outcome = Outcome.load(folder)
        if outcome is None or not outcome.finished or outcome.request != json.loads(json.dumps(request.to_json())):
            beat = partial(self.oracle.get_trial, trial.trial_id)
            outcome = self.runner(request, folder, beat=beat)
        self._tell(trial, outcome)
        if outcome.status == "FAILED":
            raise keras_tuner.errors.FailedTrialError(outcome.reason)
        history = keras.callbacks.History()
        history.history = outcome.history
        return history

    def _request(self, hp):
        spec = self.hypermodel.spec(hp)
        more = {}
        if hp.values.get("tuner/trial_id"):  # Hyperband goes on with an earlier trial
            more["weights"] = str(Path(self.get_trial_dir(hp.values["tuner/trial_id"])) / WEIGHTS)
            more["first_epoch"] = hp.values["tuner/initial_epoch"]
        objective = self.oracle.objective
        return Request(spec, self.hypermodel.training_of(hp), (objective.name, objective.direction), **more)

    def _tell(self, trial, outcome):
        values = [(name, value) for name, value in trial.hyperparameters.values.items() if "tuner/" not in name]
        chosen = ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values
        )
        if outcome.status == "FAILED":
            came = f"failed: {outcome.reason}"
        else:
            came = f"{outcome.request['objective'][0]} {outcome.score:.4f} in epoch {outcome.epoch + 1}"
        print(f"trial {trial.trial_id}: {came} ({outcome.seconds:.0f} s): {chosen}", flush=True)
