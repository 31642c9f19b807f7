"""KerasTuner's oracles, safe against kills: if a process is killed, no finished trial is lost or done twice."""

import time
import warnings
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner import oracles
from keras_tuner.engine.trial import Trial
from sklearn.exceptions import ConvergenceWarning

from mmkeras.files import write_json
from mmkeras.tuning.folder import remove_ours


class _Durable:
    """Additions to an oracle: files written whole, a repaired state after a kill, trials of lost workers."""

    lost_after: float | None = None  # seconds; None: no worker is ever lost

    def save(self) -> None:
        """Write oracle.json, whole or not at all."""
        write_json(Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial: Trial) -> None:
        write_json(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", trial.get_state())

    def set_state(self, state: dict[str, Any]) -> None:
        """Load the state; workers elsewhere may still be running their trials, or may be lost."""
        super().set_state(state)
        self._at_work = dict(self.ongoing_trials) if self.lost_after else {}

    def reload(self) -> None:
        """Read the state of a search that was stopped, perhaps between the writing of two files."""
        super().reload()
        self.ongoing_trials = self._at_work
        for tuner_id, trial in self._at_work.items():
            self._retry_queue.remove(trial.trial_id)
            self.tuner_ids.add(tuner_id)
            self._signs[tuner_id] = time.monotonic()
        for trial_id in set(self.trials) - set(self.start_order):  # sampled, but the oracle's state is older
            del self.trials[trial_id]
            remove_ours(Path(self._project_dir), f"trial_{trial_id}")
        self.trials = dict(sorted(self.trials.items()))
        for trial_id in list(self._retry_queue):  # ended, but the oracle's state is older
            if self.trials[trial_id].status in ("COMPLETED", "FAILED"):
                self._retry_queue.remove(trial_id)
                self.end_order.append(trial_id)

    @keras_tuner.synchronized
    def create_trial(self, tuner_id: str) -> Trial:
        """A trial for this worker; "IDLE" while the trial of another worker could still come back."""
        self._signs[tuner_id] = time.monotonic()
        self.take_back()
        none_left = self.max_trials and len(self.trials) >= self.max_trials and not self._retry_queue
        if self.lost_after and none_left and self.ongoing_trials and tuner_id not in self.ongoing_trials:
            return Trial(self.get_space(), status="IDLE")
        return super().create_trial(tuner_id)

    def get_trial(self, trial_id: str) -> Trial:
        """The trial; a worker that asks for it gives a sign of life."""
        for tuner_id, trial in list(self.ongoing_trials.items()):
            if trial.trial_id == trial_id:
                self._signs[tuner_id] = time.monotonic()
        return super().get_trial(trial_id)

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        """Record the end of a trial; if it was given to another worker and ends twice, only the first end counts."""
        if trial.trial_id not in self.end_order:
            super().end_trial(trial)

    @keras_tuner.synchronized
    def take_back(self) -> None:
        """Put the trials of lost workers back into the pool."""
        if not self.lost_after:
            return
        late = time.monotonic() - self.lost_after
        for tuner_id in [name for name in self.tuner_ids if self._signs.get(name, 0) < late]:
            self.tuner_ids.remove(tuner_id)
            trial = self.ongoing_trials.pop(tuner_id, None)
            if trial is not None:
                print(f"trial {trial.trial_id}: no sign of {tuner_id} for {self.lost_after:g} s; it goes to another")
                self._retry_queue.append(trial.trial_id)
                self.save()

    @property
    def _signs(self) -> dict[str, float]:
        return self.__dict__.setdefault("_signs_of_life", {})


class Random(_Durable, oracles.RandomSearchOracle):
    """Random search."""


class Bayesian(_Durable, oracles.BayesianOptimizationOracle):
    """A Gaussian process over the finished trials."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next trial's values, the same for a seed and the trials so far, after a restart too."""
        self._random_state = np.random.RandomState(self.seed + len(self.trials))
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", ConvergenceWarning
            )  # scikit-learn's warning about a kernel's bound, of no use here
            return super().populate_space(trial_id)


class Hyperband(_Durable, oracles.HyperbandOracle):
    """Successive halving."""


def oracle_of(tuner: str, objective: keras_tuner.Objective, trials: int, epochs: int, seed: int) -> keras_tuner.Oracle:
    """The oracle of a search.

    Args:
        tuner: "bayesian", "random" or "hyperband".
        objective: `keras_tuner.Objective`.
        trials: most trials.
        epochs: of a trial, with "hyperband" of those that come furthest.
        seed: from 1.
    """
    options = {"objective": objective, "seed": seed, "max_consecutive_failed_trials": float("inf")}
    if tuner == "hyperband":
        oracle = Hyperband(max_epochs=epochs, hyperband_iterations=None, **options)
        oracle.max_trials = trials
        return oracle
    if tuner == "bayesian":
        return Bayesian(max_trials=trials, num_initial_points=max(3, trials // 3), **options)
    return Random(max_trials=trials, **options)
