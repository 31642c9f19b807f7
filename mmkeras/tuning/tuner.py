"""KerasTuner's Tuner with trials that run elsewhere: one after the other, in several threads, or on other machines."""

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras_tuner

from mmkeras.files import write_json
from mmkeras.tuning.model import Asker, SpecModel
from mmkeras.tuning.trial import WEIGHTS, Outcome, Request


def role() -> str:
    """The role of this process by KerasTuner's environment variables: "chief", "worker", or "alone"."""
    if not os.environ.get("KERASTUNER_ORACLE_IP"):
        return "alone"
    return "chief" if "chief" in os.environ["KERASTUNER_TUNER_ID"] else "worker"


class Search(keras_tuner.Tuner):
    """KerasTuner's Tuner, whose trials are run by `runner`."""

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        hypermodel: SpecModel,
        runner: Callable[..., Outcome],
        folder: Path,
        lost_after: float = 60.0,
    ):
        self.runner, self.folder = runner, folder
        if role() != "alone":
            oracle.lost_after = lost_after
        oracle.verbose = 0
        self.lasting, self.stopped = oracle, threading.Event()
        super().__init__(oracle, hypermodel, directory=str(folder.parent), project_name=folder.name)
        self.save()  # from here on there is something to reload

    def _populate_initial_space(self):
        """Ask the space for its hyperparameters; no model needs to be built for that."""
        own, self.hypermodel = self.hypermodel, Asker(self.hypermodel)
        super()._populate_initial_space()
        self.hypermodel = own

    def save(self) -> None:
        """Write the tuner's and the oracle's files, each whole or not at all."""
        if not self._is_worker():
            self.oracle.save()
        write_json(Path(self._get_tuner_fname()), self.get_state())

    def run(self, workers: int) -> None:
        """The whole search; of a chief, until all workers are done."""
        try:
            if role() == "chief":
                threading.Thread(target=self._watch_workers, daemon=True).start()
                self.search(verbose=0)
            elif workers == 1:
                self._work(self.tuner_id)
            else:
                self._work_together(workers)
        finally:
            self.stopped.set()

    def _watch_workers(self):
        while not self.stopped.wait(2):
            self.lasting.take_back()

    def _work_together(self, workers):
        """Several threads, each of which waits for the process of its trial; the first error ends all."""
        errors, threads = [], []

        def work(name):
            try:
                self._work(name)
            except BaseException as error:
                errors.append(error)

        for name in (f"tuner{number}" for number in range(workers)):
            threads += [threading.Thread(target=work, args=(name,), name=name, daemon=True)]
            threads[-1].start()
        try:
            while any(thread.is_alive() for thread in threads) and not errors:
                time.sleep(0.2)
        finally:
            self.stopped.set()
            for thread in threads:
                thread.join()
        if errors:
            raise errors[0]

    def _sign(self, trial_id):
        """Called by a trial every few seconds: a sign of life to the chief; raises when the whole search ends."""
        if self.stopped.is_set():
            raise KeyboardInterrupt
        self.oracle.get_trial(trial_id)

    def _work(self, tuner_id):
        """Trial after trial, until there is none left."""
        while True:
            trial = self.oracle.create_trial(tuner_id)
            if trial.status == "STOPPED":
                return
            if trial.status == "IDLE":
                time.sleep(1)
                continue
            outcome = self._outcome(trial)
            trial.status, trial.message = outcome.status, outcome.reason
            if outcome.status == "COMPLETED":
                metrics = {
                    name: values[outcome.epoch - outcome.request["first_epoch"]]
                    for name, values in outcome.history.items()
                }
                self.oracle.update_trial(trial.trial_id, metrics, step=outcome.epoch)
            self.oracle.end_trial(trial)

    def _outcome(self, trial):
        """The outcome of the trial: it is trained and scored, unless that was done already."""
        folder, request = Path(self.get_trial_dir(trial.trial_id)), self._request(trial.hyperparameters)
        outcome = Outcome.load(folder)
        if outcome is None or not outcome.answers(request):
            beat = partial(self._sign, trial.trial_id)
            outcome = self.runner(request, folder, beat=beat)
        self._tell(trial, outcome)
        return outcome

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
            came = f"{outcome.request['objective'][0]} {outcome.score:.4f} after {outcome.epoch + 1} epochs"
        print(f"trial {trial.trial_id}: {came} ({outcome.seconds:.0f} s): {chosen}", flush=True)
