"""The program in C: compiled and run, its output read."""

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from . import Skip
from .golden import Arrays


def compiled() -> str:
    """Compile program.c, which is next to this file; the program's path."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    folder, source = Path(tf.sysconfig.get_lib()), Path(__file__).with_name("program.c")
    if sys.platform != "linux" or not (folder / "libtensorflow_cc.so.2").exists():
        raise Skip("needs Linux and a TensorFlow that comes with libtensorflow_cc.so.2")
    if not compiler:
        raise Skip("there is no C compiler (cc, gcc, clang)")
    # Linking against the library itself reads 1 GB; a stub with the same name and functions is enough.
    functions = sorted(set(re.findall(r"\bTF_\w+(?=\()", source.read_text())))
    Path("stub.c").write_text("\n".join(f"void {name}(void) {{}}" for name in functions))
    name = "libtensorflow_cc.so.2"
    _compile([compiler, "-shared", "-fPIC", "stub.c", "-o", name, f"-Wl,-soname,{name}"])
    include = f"-I{tf.sysconfig.get_include()}"
    _compile([compiler, "-O1", str(source), "-o", "program", include, f"./{name}", f"-Wl,-rpath,{folder}"])
    return str(Path("program").resolve())


def _compile(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skip(f"{command[0]} cannot compile the program: {' '.join(done.stderr.split())[:300]}")


def write_request(path: str, signature: meta_graph_pb2.SignatureDef, values: Arrays) -> None:
    """The input file of program.c."""
    with open(path, "wb") as file:
        file.write(_packed(len(values)))
        for name, value in values.items():
            info = signature.inputs[name]
            file.write(_place(info) + _packed(info.dtype, value.ndim, *value.shape))
            file.write(_packed(*value.ravel()) if value.dtype.hasobject else value.tobytes())
        file.write(_packed(len(signature.outputs)))
        for name in sorted(signature.outputs):
            file.write(_place(signature.outputs[name]))


def _place(info):
    op, _, index = info.name.rpartition(":")
    return _packed(op.encode(), int(index))


def _packed(*values):
    """Whole numbers as 64 bits, strings as their lengths and bytes."""
    return b"".join(struct.pack("=q", len(v)) + v if isinstance(v, bytes) else struct.pack("=q", v) for v in values)


def read_answer(path: str, signature: meta_graph_pb2.SignatureDef) -> Arrays:
    """The outputs that program.c wrote: dict of output name -> array."""
    answers = {}
    with open(path, "rb") as file:
        for name in sorted(signature.outputs):
            dtype = tf.as_dtype(_number(file)).as_numpy_dtype
            shape = [_number(file) for _ in range(_number(file))]
            count = int(np.prod(shape))
            if dtype is object:
                array = np.array([file.read(_number(file)) for _ in range(count)], object)
            else:
                array = np.frombuffer(file.read(count * np.dtype(dtype).itemsize), dtype)
            answers[name] = array.reshape(shape)
    return answers


def _number(file):
    return struct.unpack("=q", file.read(8))[0]
