"""The model of the contract double: its versions in sessions, and the server's words for what a request may not be.

The words are those of predict_util.cc, classifier.cc, regressor.cc, batching_session.cc and get_model_status_impl.cc.
"""

from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from serving_json import Refused
from tensorflow_serving.apis import get_model_status_pb2

GRPC_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
STATE = get_model_status_pb2.ModelVersionStatus
DEFAULT = "serving_default"


class Version:
    """One version, in a session, which checks no shapes, as the server's does not."""

    def __init__(self, path):
        with tf.Graph().as_default():
            self.session = tf.compat.v1.Session()
            graph = tf.compat.v1.saved_model.load(self.session, ["serve"], str(path))
        self.signatures, self._calls = dict(graph.signature_def), {}

    def run(self, feeds, fetches):
        """Arrays for the tensors named in the list `fetches`; `feeds` is a dict of tensor's name -> array."""
        key = (*sorted(feeds), None, *fetches)
        if key not in self._calls:
            with self.session.graph.as_default():
                self._calls[key] = self.session.make_callable(fetches, feed_list=sorted(feeds))
        try:
            return self._calls[key](*[feeds[name] for name in sorted(feeds)])
        except tf.errors.OpError as error:
            raise Refused(error.message, GRPC_CODES[error.error_code]) from error


class Model:
    """The versions of one model, all loaded but those that are unloaded again."""

    def __init__(self, directory, name, labels=None, max_batch_size=None):
        self.name, self.labels, self.max_batch_size = name, labels or {}, max_batch_size
        folders = [path for path in Path(directory).iterdir() if path.name.isdecimal()]
        self.loaded = {int(path.name): Version(path) for path in folders}
        self.ended = set()

    def unload(self, version):
        """Unload a version, as the server does with the oldest when there are more than it is to hold."""
        self.loaded.pop(version)
        self.ended.add(version)

    def version(self, name, version=None, label=None):
        """The number of the version that is meant."""
        if label:
            if label not in self.labels or name != self.name:
                raise Refused(f"Unrecognized servable version label: {label}")
            version = self.labels[label]
        if name != self.name or not self.loaded or (version is not None and version not in self.loaded):
            meant = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise Refused(f"Servable not found for request: {meant}", "NOT_FOUND")
        return max(self.loaded) if version is None else version

    def status(self, name, version=None):
        """The state of the versions that are asked for, newest first."""
        known = {*self.loaded, *self.ended} if name == self.name else set()
        if version is not None and version not in known:
            raise Refused(f"Could not find version {version} of model {name}", "NOT_FOUND")
        if not known:
            raise Refused(f"Could not find any versions of model {name}", "NOT_FOUND")
        answer = get_model_status_pb2.GetModelStatusResponse()
        for number in sorted(known, reverse=True) if version is None else [version]:
            state = STATE.AVAILABLE if number in self.loaded else STATE.END
            answer.model_version_status.add(version=number, state=state).status.SetInParent()
        return answer

    def signature(self, version, name):
        """The description of a signature for Predict, over gRPC's words where there is none."""
        signatures = self.loaded[version].signatures
        if (name or DEFAULT) not in signatures:
            raise Refused(f'Serving signature key "{name or DEFAULT}" not found.', "FAILED_PRECONDITION")
        return signatures[name or DEFAULT]

    def predict(self, version, signature, inputs, chosen=()):
        """dict of name -> array to dict of name -> array; of the outputs only the `chosen` ones, all if none is."""
        described = self.signature(version, signature)
        taken, given = described.inputs, described.outputs
        if len(inputs) != len(taken):
            extra, missing = sorted(set(inputs) - set(taken)), sorted(set(taken) - set(inputs))
            raise Refused(
                f"input size does not match signature: {len(inputs)}!={len(taken)} len({{{','.join(sorted(inputs))}}}) "
                f"!= len({{{','.join(sorted(taken))}}}). Sent extra: {{{','.join(extra)}}}. Missing but required: "
                f"{{{','.join(missing)}}}."
            )
        for name in sorted(taken):
            if name not in inputs:
                raise Refused(
                    f"Signature input alias: {name}(feed name: {taken[name].name}) not found in request and no default "
                    f"value provided. Inputs expected to be in the request {{{','.join(sorted(inputs))}}}, or default "
                    "input alias set: "
                )
        for number, name in enumerate(chosen):
            if name not in given:
                raise Refused(
                    f"output tensor alias not found in signature: {name} Outputs expected to be in the set "
                    f"{{{','.join(sorted(given))}}}."
                )
            if name in chosen[:number]:
                raise Refused(f"duplicate output tensor alias: {name}")
        names = list(chosen) or sorted(given)
        feeds = {taken[name].name: value for name, value in inputs.items()}
        for name, value in inputs.items():
            dtype = tf.as_dtype(taken[name].dtype)
            sent = tf.string if value.dtype == object else tf.as_dtype(value.dtype)
            if sent != dtype:
                raise Refused(f"Expects arg[0] to be {_plain(dtype)} but {_plain(sent)} is provided")
        self._check_batch(list(inputs.values()))
        found = self.loaded[version].run(feeds, [given[name].name for name in names])
        return dict(zip(names, found, strict=True))

    def _check_batch(self, values):
        """What the server refuses where it batches."""
        if self.max_batch_size is None:
            return
        if any(not value.ndim for value in values):
            raise Refused("Batching Run() input tensors must have at least one dimension")
        if len({len(value) for value in values}) > 1:
            raise Refused("Batching Run() input tensors must have equal 0th-dimension size")
        if len(values[0]) > self.max_batch_size:
            raise Refused(f"Task size {len(values[0])} is larger than maximum input batch size {self.max_batch_size}")

    def of_examples(self, method, version, signature, serialized):
        """The outputs of a Classify or Regress signature for serialised tf.Examples: dict of name -> array."""
        signatures, word = self.loaded[version].signatures, {"classify": "classification", "regress": "regression"}
        name = signature or DEFAULT
        if name not in signatures:
            raise Refused(f"No signature was found with the name: {name}")
        described = signatures[name]
        if len(described.inputs) != 1:
            raise Refused("Expected one input Tensor.")
        most = {"classify": 2, "regress": 1}[method]
        if not 1 <= len(described.outputs) <= most:
            found = f"one or two output Tensors, found {len(described.outputs)}" if most == 2 else "one output Tensor."
            raise Refused(f"Expected {found}")
        if "inputs" not in described.inputs:
            raise Refused(f"No {word[method]} inputs found in SignatureDef: {described}")
        if not {"classes", "scores"} & set(described.outputs) if most == 2 else "outputs" not in described.outputs:
            wanted = 'contain at least one of "classes" or "scores"' if most == 2 else ""
            start = f"Expected classification signature outputs to {wanted}. Signature was: "
            raise Refused((start if most == 2 else "No regression outputs found in SignatureDef: ") + str(described))
        if not serialized:
            raise Refused("Input is empty.")
        return self.predict(version, name, {"inputs": np.array([*serialized, None], object)[:-1]})


def _plain(dtype):
    return {"float32": "float", "float64": "double", "float16": "half"}.get(dtype.name, dtype.name)
