"""The ops of the graph."""

from pathlib import Path

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow.python.framework import op_def_registry

PYTHON_OPS = ("PyFunc", "PyFuncStateless", "EagerPyFunc")  # TensorFlow's own, but they call Python


def served_graph(bundle: str) -> meta_graph_pb2.MetaGraphDef:
    """The graph that a server loads."""
    graphs = [graph for graph in _saved_model(bundle).meta_graphs if "serve" in graph.meta_info_def.tags]
    if not graphs:
        raise AssertionError("there is no graph with the tag 'serve'")
    return graphs[0]


def _saved_model(bundle):
    return saved_model_pb2.SavedModel.FromString((Path(bundle) / "saved_model.pb").read_bytes())


def check_ops(bundle: str) -> str:
    """Every op is one of TensorFlow's own, and none runs Python."""
    functions, used = set(), set()
    for graph in _saved_model(bundle).meta_graphs:
        library = graph.graph_def.library.function
        functions.update(function.signature.name for function in library)
        used.update(node.op for node in graph.graph_def.node)
        used.update(node.op for function in library for node in function.node_def)
    used -= functions
    python = sorted(used.intersection(PYTHON_OPS))
    unknown = sorted(op for op in used if op_def_registry.get(op) is None)
    if python or unknown:
        reasons = [f"{op} runs Python code" for op in python] + [f"{op} is not one of TensorFlow's" for op in unknown]
        raise AssertionError(f"TensorFlow Serving cannot run this graph: {', '.join(reasons)}")
    return f"{len(used)} kinds, all of TensorFlow {tf.__version__} itself"
