"""The graphs of a SavedModel, read and judged before anything is loaded or run."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import tensorflow as tf
from tensorflow.core.framework import function_pb2, node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow.python.framework import op_def_registry

PYTHON_OPS = ("PyFunc", "PyFuncStateless", "EagerPyFunc")  # TensorFlow's own, but they call Python
SAVE_OPS, RESTORE_OPS = ("SaveV2", "MergeV2Checkpoints"), ("RestoreV2",)
Nodes = dict[str, node_def_pb2.NodeDef]


def served_graph(bundle: str) -> meta_graph_pb2.MetaGraphDef:
    """The graph that a server loads."""
    graphs = [graph for graph in _saved_model(bundle).meta_graphs if "serve" in graph.meta_info_def.tags]
    if not graphs:
        raise AssertionError("there is no graph with the tag 'serve'")
    return graphs[0]


def _saved_model(bundle):
    return saved_model_pb2.SavedModel.FromString((Path(bundle) / "saved_model.pb").read_bytes())


def check_ops(bundle: str) -> str:
    """Every op of every graph computes and does nothing else; those that save and restore are the saver's alone.

    Functions that nothing calls count as well. The saver's part may restore the bundle's own variables, and nothing
    else; the part that saves is never run.

    Raises:
        AssertionError: with the ops that are not allowed, and what would run them.
    """
    lines = Path(__file__).with_name("harmless_ops.txt").read_text(encoding="utf-8").splitlines()
    harmless = {name for line in lines if not line.startswith("#") for name in line.split()}
    kinds, problems = set(), {}
    for meta_graph in _saved_model(bundle).meta_graphs:
        graph = _Graph(meta_graph)
        for op, place, part in graph.ops():
            kinds.add(op)
            allowed = {"save": SAVE_OPS + RESTORE_OPS, "restore": RESTORE_OPS, "": ()}[part]
            if op not in harmless and op not in allowed:
                problems.setdefault(op, f"{op} {_reason(op)}{graph.run_by(place)}")
        problems |= {place: f"the saver restores from another file in {place}" for place in graph.foreign_restores()}
    if problems:
        raise AssertionError(f"nothing of this graph was run: {'; '.join(list(problems.values())[:5])}")
    return f"{len(kinds)} kinds, all of TensorFlow {tf.__version__} itself, none that reads or writes files"


def _reason(op):
    if op in PYTHON_OPS:
        return "runs Python code"
    if op_def_registry.get(op) is None:
        return "is not one of TensorFlow's"
    return "is not among the ops that are known to do nothing but compute: it may read or write files, or worse"


class _Graph:
    """The nodes of a graph, and the functions that they call, by whether the saver or something else runs them."""

    def __init__(self, meta_graph):
        self.meta_graph = meta_graph
        library = meta_graph.graph_def.library.function
        self.functions: dict[str, function_pb2.FunctionDef] = {one.signature.name: one for one in library}
        self.nodes: Nodes = {node.name: node for node in meta_graph.graph_def.node}
        if (len(self.functions), len(self.nodes)) != (len(library), len(meta_graph.graph_def.node)):
            raise AssertionError("nothing of this graph was run: nodes or functions of one name")
        self.calls = {name: _functions(one.node_def) & set(self.functions) for name, one in self.functions.items()}
        saver = meta_graph.saver_def
        self.filename = _op(saver.filename_tensor_name)
        saving, restoring = self._needed([_op(saver.save_tensor_name)]), self._needed([_op(saver.restore_op_name)])
        others = self._needed([*self._outside(), *(set(self.nodes) - saving - restoring)])
        of_saver = self._called(saving | restoring)
        objects = set(meta_graph.object_graph_def.concrete_functions) & set(self.functions)
        dead = set(self.functions) - of_saver - self._called(others)
        self.others = others, self._called(others) | self._closed(objects | dead)
        self.restoring = restoring - others, self._called(restoring) - self.others[1]

    def ops(self) -> Iterator[tuple[str, str, str]]:
        """The op of each node, the function or node that it stands in, and "save", "restore" or ""."""
        for name, node in self.nodes.items():
            part = "" if name in self.others[0] else "restore" if name in self.restoring[0] else "save"
            yield from ((op, name, part) for op in [node.op] if op not in self.functions)
        for name, function in self.functions.items():
            part = "" if name in self.others[1] else "restore" if name in self.restoring[1] else "save"
            part = "" if "api_implements" in function.attr else part  # TensorFlow may put it in another's place
            yield from ((node.op, name, part) for node in function.node_def if node.op not in self.functions)

    def foreign_restores(self) -> Iterator[str]:
        """Places where the saver restores from a file that is not the one that it is given."""
        for name in self.restoring[0]:
            node = self.nodes[name]
            if node.op in RESTORE_OPS and _source(self.nodes, node.input[0], self.filename) != self.filename:
                yield name
        for name in self.restoring[1]:
            function = self.functions[name]
            given = {argument.name: place for place, argument in enumerate(function.signature.input_arg)}
            nodes = {node.name: node for node in function.node_def}
            sources = {_source(nodes, node.input[0], "") for node in nodes.values() if node.op in RESTORE_OPS}
            if sources and not (
                sources <= set(given) and self._gets_the_filename(name, {given[one] for one in sources})
            ):
                yield name

    def _gets_the_filename(self, function, places):
        """Whether a function is called by nodes alone, and they pass the saver's file at these places."""
        within = [name for name, called in self.calls.items() if function in called]
        callers = [node for node in self.nodes.values() if function in _functions([node])]
        sources = {_source(self.nodes, node.input[place], self.filename) for node in callers for place in places}
        return not within and sources <= {self.filename}

    def run_by(self, place: str) -> str:
        """What would run a node or a function, in words."""
        for name, signature in self.meta_graph.signature_def.items():
            needed = self._needed(_op(info.name) for info in _infos(signature))
            if place in needed or place in self._called(needed):
                return f" (in {place!r}, which the signature {name!r} runs)"
        return f" (in {place!r})"

    def _outside(self):
        """The nodes that signatures and initialisers name."""
        for signature in self.meta_graph.signature_def.values():
            yield from (_op(info.name) for info in _infos(signature))
        for collection in self.meta_graph.collection_def.values():
            yield from map(_op, collection.node_list.value)

    def _needed(self, names: Iterable[str]) -> set[str]:
        """The nodes of these names, and all that they need."""
        found, waiting = set(), [name for name in names if name in self.nodes]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += [one for one in map(_op, self.nodes[name].input) if one in self.nodes]
        return found

    def _called(self, names: Iterable[str]) -> set[str]:
        """The functions that nodes call, and those that these call."""
        return self._closed(_functions(self.nodes[name] for name in names) & set(self.functions))

    def _closed(self, functions: Iterable[str]) -> set[str]:
        found, waiting = set(), list(functions)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self.calls[name]
        return found


def _infos(signature):
    for info in [*signature.inputs.values(), *signature.outputs.values()]:
        parts = [*info.composite_tensor.components]
        sparse = info.coo_sparse
        names = [sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name]
        yield from [info, *parts, *(meta_graph_pb2.TensorInfo(name=name) for name in names if name)]


def _functions(nodes: Iterable[node_def_pb2.NodeDef]) -> set[str]:
    """The names of functions in nodes: their ops, and functions and texts among their attributes."""
    found = set()
    for node in nodes:
        found.add(node.op)
        waiting = list(node.attr.values())
        while waiting:
            value = waiting.pop()
            for one in [value.func, *value.list.func]:
                found.add(one.name)
                waiting += one.attr.values()
            found.update(text.decode(errors="replace") for text in [value.s, *value.list.s])
    return found


def _op(tensor: str) -> str:
    """The name of the node that a tensor, or a control input, is of."""
    return tensor.removeprefix("^").partition(":")[0]


def _source(nodes: Nodes, tensor: str, filename: str) -> str:
    """The node or argument that a tensor comes from unchanged."""
    name = _op(tensor)
    for _ in nodes:  # no more: they may stand in a circle
        if name in nodes and name != filename and nodes[name].op in ("Identity", "PlaceholderWithDefault"):
            name = _op(nodes[name].input[0])
    return name
