"""Bundles that were tampered with: nothing of them is loaded or run."""

import json
import os
import shutil
import subprocess

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from mmkeras import checksums
from mmkeras.bundle.golden import ON_GPU
from mmkeras.bundle.versions import write_version
from mmkeras.cli import main
from mmkeras.errors import InputError
from mmkeras.verification import digest, papers, verify
from mmkeras.verification.replay.checks import main as replay
from mmkeras.verification.replay.graph import check_ops


class Model(tf.Module):
    """Answers with twice the number; `spoiled` is called as well."""

    def __init__(self, spoiled=lambda number: number):
        super().__init__()
        self.two = tf.Variable(2.0)
        specs = [tf.TensorSpec([None], tf.float32, name="number")]
        self.serve = tf.function(lambda number: {"value": spoiled(number) * self.two}, specs, autograph=False)

    def save(self, folder):
        tf.saved_model.save(self, str(folder), {"serving_default": self.serve})
        golden = {"signature_name": "serving_default", "tolerance": 1e-5}
        golden |= {"inputs": {"number": [1.0, 2.0]}, "outputs": {"value": [2.0, 4.0]}}
        (folder / "assets.extra").mkdir()
        (folder / "assets.extra" / "golden.json").write_text(json.dumps(golden))
        return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_version(tmp_path_factory.mktemp("models"), Model().save)


@pytest.fixture
def bundle(written, tmp_path):
    return shutil.copytree(written, tmp_path / "1")


@pytest.fixture
def here(monkeypatch):
    """`verify` replays in this process."""
    monkeypatch.setitem(verify.__globals__, "_run", lambda command, *_: replay(*command[3:]))


def files(bundle):
    found = {check.name: (check.outcome, check.words) for check in verify(bundle, ways=[]).checks}
    return found["files"]


def edit(bundle, **changed):
    path = bundle / "assets.extra" / "golden.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    checksums.write(bundle)


def test_every_file_is_in_the_list(bundle):
    listed = checksums.read(bundle)
    paths = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert set(listed) == paths - {"assets.extra/SHA256SUMS"}
    outcome, words = files(bundle)
    assert (outcome, words) == ("passed", f"{len(listed)} as in SHA256SUMS, digest {digest(bundle)}")
    if shutil.which("sha256sum"):
        done = subprocess.run(["sha256sum", "--strict", "--check", "assets.extra/SHA256SUMS"], cwd=bundle, check=False)
        assert done.returncode == 0


def test_files_that_are_not_those_of_the_export(bundle, here):
    (bundle / "variables" / "variables.index").write_bytes(b"x")
    (bundle / "fingerprint.pb").unlink()
    (bundle / "assets" / "more.txt").write_text("x")
    verification = verify(bundle, ways=["load"])
    told = "changed: variables/variables.index; missing: fingerprint.pb; not in the list: assets/more.txt"
    assert [(check.name, check.outcome) for check in verification.checks] == [
        ("files", "failed"),
        ("golden batch", "skipped"),
    ]
    assert verification.checks[0].words == told
    assert not verification.passed


def test_the_digest(bundle, capsys):
    own = digest(bundle)
    assert verify(bundle, ways=[], expect=own.upper()).passed
    (bundle / "fingerprint.pb").write_bytes(b"x")
    checksums.write(bundle)  # by somebody who can write all files
    verification = verify(bundle, ways=[], expect=own)
    assert not verification.passed
    assert verification.digest == digest(bundle) != own
    assert main(["verify", str(bundle), "--digest"]) == 0
    assert capsys.readouterr().out.strip() == digest(bundle)
    assert main(["verify", str(bundle), "--expect", own]) == 1
    with pytest.raises(InputError, match="expected expect to be 64 hexadecimal digits, received 'abc'"):
        verify(bundle, expect="abc")


@pytest.mark.parametrize("tolerance", [1e9, 0.011, -1, True, None, "0", 10**400], ids=lambda value: repr(value)[:9])
def test_a_tolerance_with_which_all_would_pass(bundle, tolerance):
    edit(bundle, tolerance=tolerance)
    with pytest.raises(InputError, match=r"expected a tolerance from 0 to 0\.01, received .* wrong outputs would pass"):
        verify(bundle, ways=[])


def test_the_tolerance_of_an_export_is_allowed():
    assert ON_GPU <= papers.MOST_TOLERANCE


def nested(depth):
    return [nested(depth - 1)] if depth else 1


NAMES = {"signature_name": "serving_default", "tolerance": 0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested too deeply"),
        (json.dumps({"inputs": {"a": nested(50)}, "outputs": {"b": [1]}, **NAMES}), "at most 16 lists within lists"),
        ("[]", "TypeError"),
        ('{"inputs": NaN}', "expected finite numbers, received NaN"),
        ("9" * 5000, "Exceeds the limit"),
    ],
)
def test_golden_batches_that_are_none(bundle, text, words):
    (bundle / "assets.extra" / "golden.json").write_text(text)
    with pytest.raises(InputError, match=f"holds no golden batch: .*{words}|{words}"):
        verify(bundle, ways=[])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"outputs": {"value": []}, "inputs": {"number": []}}, "equally many rows, at least one"),
        ({"outputs": {"value": 5}}, "equally many rows, at least one"),
        ({"outputs": {"value": [float("inf"), 1]}}, "expected finite numbers, received Infinity"),
        ({"inputs": {"number": [None, 1]}}, "expected strings and finite numbers, received None"),
        ({"inputs": {"number": [{"b64": "§"}, 1]}}, "expected {.*b64.*}, received"),
        ({"inputs": {"number": [{"file": "/etc/passwd"}, 1]}}, "expected {.*b64.*}, received"),
    ],
)
def test_golden_values_that_are_none(bundle, changed, words):
    edit(bundle, **changed)
    with pytest.raises(InputError, match=words):
        verify(bundle, ways=[])


def test_a_golden_batch_that_is_too_large(bundle):
    with open(bundle / "assets.extra" / "golden.json", "r+b") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(InputError, match="expected at most 268,435,456 bytes"):
        verify(bundle, ways=[])


@pytest.mark.parametrize("place", ["assets.extra/golden.json", "saved_model.pb", "variables", "assets.extra"])
def test_links_out_of_the_bundle(bundle, tmp_path, place):
    (bundle / place).rename(tmp_path / "moved")
    (bundle / place).symlink_to(tmp_path / "moved")
    for act in (lambda: verify(bundle, ways=[]), lambda: digest(bundle)):
        with pytest.raises(InputError, match="received a link, a pipe or a device"):
            act()


def test_pipes_and_other_graphs(bundle):
    (bundle / "saved_model.cpb").touch()
    with pytest.raises(InputError, match=r"the graph in saved_model.pb alone, received saved_model.cpb beside it"):
        verify(bundle, ways=[])
    (bundle / "saved_model.cpb").unlink()
    (bundle / "assets.extra" / "golden.json").unlink()
    os.mkfifo(bundle / "assets.extra" / "golden.json")
    with pytest.raises(InputError, match="received a link, a pipe or a device"):
        verify(bundle, ways=[])


def test_a_list_that_is_none(bundle):
    checksums.place(bundle).write_text("0  ../x\n")
    with pytest.raises(InputError, match=r"SHA256SUMS' line 1: expected SHA-256 and path, received '0  ../x'"):
        verify(bundle, ways=[])


def test_other_formats(tmp_path):
    def write(folder):
        (folder / "model.onnx").write_bytes(b"onnx")
        (folder / "labels.json").write_text("{}")

    version = write_version(tmp_path / "model", write)
    verification = verify(version.parent)
    assert [(check.name, check.outcome) for check in verification.checks] == [
        ("files", "passed"),
        ("outputs", "skipped"),
    ]
    (version / "model.onnx").write_bytes(b"evil")
    assert files(version) == ("failed", "changed: model.onnx")


# Ops


def with_effect(make):
    """The number, once an op has run."""

    def spoiled(number):
        with tf.control_dependencies([make()]):
            return tf.identity(number)

    return spoiled


def cached(path):
    return lambda: tf.data.Dataset.range(1).cache(path).get_single_element()


def in_a_branch(path):
    def write():
        with tf.control_dependencies([tf.io.write_file(path, "x")]):
            return tf.constant(1)

    return lambda: tf.cond(tf.constant(True), write, lambda: tf.constant(0))


def in_a_dataset(path):
    def write(number):
        with tf.control_dependencies([tf.io.write_file(path, "x")]):
            return tf.identity(number)

    return lambda: tf.data.Dataset.range(1).map(write).get_single_element()


EFFECTS = {
    "WriteFile": lambda path: lambda: tf.io.write_file(path, "x"),
    "WriteFile in a branch": in_a_branch,
    "WriteFile in a dataset": in_a_dataset,
    "ReadFile": lambda path: lambda: tf.io.read_file("/etc/hostname"),
    "MatchingFiles": lambda path: lambda: tf.io.matching_files("/etc/*"),
    "PrintV2": lambda path: lambda: tf.print("x", output_stream=f"file://{path}"),
    "SaveV2": lambda path: (
        lambda: tf.raw_ops.SaveV2(prefix=path, tensor_names=["a"], shape_and_slices=[""], tensors=[tf.constant(1.0)])
    ),
    "RestoreV2": lambda path: (
        lambda: tf.raw_ops.RestoreV2(prefix=path, tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32])[0]
    ),
    "CacheDataset": cached,
    "TextLineDataset": lambda path: lambda: tf.data.TextLineDataset("/etc/hostname").get_single_element(),
    "DebugIdentity": lambda path: (
        lambda: tf.raw_ops.DebugIdentity(
            input=1.0, device_name="", tensor_name="a", debug_urls=[f"file://{path}"], gated_grpc=False
        )
    ),
    "ImmutableConst": lambda path: (
        lambda: tf.raw_ops.ImmutableConst(dtype=tf.uint8, shape=[1], memory_region_name="/etc/hostname")
    ),
    "PyFunc": lambda path: lambda: tf.numpy_function(lambda: 1.0, [], tf.float64),
}


@pytest.mark.parametrize("effect", EFFECTS)
def test_ops_with_effects_are_not_run(effect, tmp_path, here):
    path = tmp_path / "written"
    folder = Model(with_effect(EFFECTS[effect](str(path))))
    folder.serve.get_concrete_function()
    tf.saved_model.save(folder, str(tmp_path / "1"), {"serving_default": folder.serve})
    (tmp_path / "1" / "assets.extra").mkdir()
    golden = {"signature_name": "serving_default", "tolerance": 0, "inputs": {"number": [1]}, "outputs": {"value": [2]}}
    (tmp_path / "1" / "assets.extra" / "golden.json").write_text(json.dumps(golden))
    op = effect.partition(" ")[0]
    found = {check.name: check for check in verify(tmp_path / "1", ways=["load", "session"]).checks}
    assert sorted(found) == ["files", "load: ops", "session: ops"]
    for name in ("load: ops", "session: ops"):
        assert found[name].outcome == "failed"
        assert found[name].words.startswith("nothing of this graph was run: ")
        assert op in found[name].words
    assert not [one for one in tmp_path.iterdir() if one.name.startswith("written")]


def changed(bundle, edit_graph):
    """`check_ops` of a bundle whose graph was edited."""
    path = bundle / "saved_model.pb"
    content = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    edit_graph(content.meta_graphs[0])
    path.write_bytes(content.SerializeToString())
    return check_ops(str(bundle))


def function(graph, op):
    return next(one for one in graph.graph_def.library.function if any(node.op == op for node in one.node_def))


def test_the_savers_ops_are_the_savers_alone(bundle):
    def initialiser(graph):
        graph.signature_def["__saved_model_init_op"].outputs[
            "__saved_model_init_op"
        ].name = graph.saver_def.save_tensor_name

    def restored_by_saving(graph):
        graph.saver_def.restore_op_name = graph.saver_def.save_tensor_name.partition(":")[0]

    def collection(graph):
        graph.collection_def["saved_model_main_op"].node_list.value[:] = [graph.saver_def.save_tensor_name]

    def called(graph):
        name = function(graph, "SaveV2").signature.name
        graph.object_graph_def.concrete_functions[name].bound_inputs[:] = []

    assert check_ops(str(bundle)).endswith("none that reads or writes files")
    for edit_graph in (initialiser, restored_by_saving, collection, called):
        with pytest.raises(
            AssertionError, match=r"nothing of this graph was run: .*(SaveV2|MergeV2Checkpoints) is not"
        ):
            changed(shutil.copytree(bundle, bundle.parent / edit_graph.__name__), edit_graph)


def test_the_saver_restores_the_bundles_own_file(bundle):
    def another(graph):
        restore = function(graph, "RestoreV2")
        restore.node_def.add(name="elsewhere", op="Const")
        next(node for node in restore.node_def if node.op == "RestoreV2").input[0] = "elsewhere:output:0"

    with pytest.raises(AssertionError, match="the saver restores from another file"):
        changed(bundle, another)


def test_functions_that_nothing_calls_and_functions_of_one_name(bundle):
    def dead(graph):
        graph.graph_def.library.function.add().signature.name = "dead"
        graph.graph_def.library.function[-1].node_def.add(name="w", op="WriteFile")

    def twice(graph):
        graph.graph_def.library.function.append(graph.graph_def.library.function[0])

    with pytest.raises(AssertionError, match=r"WriteFile is not .* \(in 'dead'\)"):
        changed(shutil.copytree(bundle, bundle.parent / "dead"), dead)
    with pytest.raises(AssertionError, match="nodes or functions of one name"):
        changed(shutil.copytree(bundle, bundle.parent / "twice"), twice)
