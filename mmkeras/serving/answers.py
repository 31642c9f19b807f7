"""What a server answers, checked: nothing of it is trusted, neither its types nor its shapes nor its sizes."""

import base64
import binascii
import json
import math
import reprlib
from collections.abc import Collection, Mapping
from itertools import chain
from typing import Any

import numpy as np

from mmkeras.errors import unknown
from mmkeras.serving.failures import answered, malformed, printable

Shape = tuple[int | None, ...] | None  # None: any size; any rank
Described = dict[str, tuple[str, Shape]]  # name -> dtype and shape
NUMBERS = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = ("string", "bool", *NUMBERS)
MOST_AXES, MOST_VALUES = 16, 2**27  # of one row


_SHORT = reprlib.Repr()
_SHORT.maxstring = 60


def brief(value: Any) -> str:
    """A value out of an answer for a message: without walking through all of it."""
    return printable(_SHORT.repr(value), 80)


def parsed(where: str, body: bytes) -> Any:
    """The JSON of a body. Raises `ServingError`."""
    try:
        return json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError, JSONDecodeError, whole numbers of 5,000 digits
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        received = brief(body[:80].decode("utf-8", "replace"))
        raise malformed(where, f"expected the JSON of TensorFlow Serving, received {received} ({reason})") from error


def part(where: str, content: Any, kind: type, *keys: str) -> Any:
    """The dict, list or str under some keys of JSON. Raises `ServingError` where there is none."""
    for depth, key in enumerate(keys):
        if isinstance(content, dict) and "error" in content and key not in content:
            raise answered(where, "INTERNAL", content["error"], False)
        if not isinstance(content, dict) or key not in content:
            place = ".".join(keys[: depth + 1])
            raise malformed(
                where, f"expected the JSON of TensorFlow Serving with {place!r}, received {_json(content, depth)}"
            )
        content = content[key]
    if not isinstance(content, kind):
        names: dict[type, str] = {dict: "an object", list: "a list", str: "a text"}
        place = repr(".".join(keys)) + ": " if keys else ""
        raise malformed(where, f"{place}expected {names[kind]}, received {brief(content)}")
    return content


def _json(content: Any, depth: int) -> str:
    return f"the keys {brief(list(content))}" if isinstance(content, dict) and depth else brief(content)


def described(where: str, signature: str, role: str, name: str, dtype: str, sizes: Any) -> tuple[str, Shape]:
    """One input or output of a signature.

    Args:
        where: the server.
        signature, role, name: of which signature, "inputs" or "outputs", its name there.
        dtype: NumPy's name, or "string".
        sizes: list of int, negative for any; None for any rank.

    Raises:
        ServingError: a type that cannot be sent, more axes or values than a row may have.
    """
    place = f"signature {signature!r}: {role} {brief(name)}"
    if dtype not in DTYPES:
        raise malformed(where, f"{place}: the client knows no type {brief(dtype)}")
    if sizes is None:
        return dtype, None
    shape = tuple(size if size >= 0 else None for size in sizes)
    if len(shape) > MOST_AXES or math.prod(size for size in shape[1:] if size) > MOST_VALUES:
        raise malformed(
            where, f"{place}: expected at most {MOST_VALUES:,} values a row, received the shape {brief(shape)}"
        )
    return dtype, shape


def chosen(model: str, name: str, signatures: Mapping[str, Any]) -> Any:
    """The signature of a name; `InputError` where the model has none."""
    if name not in signatures:  # TensorFlow's own, as __saved_model_init_op, are none to ask
        raise unknown("signature", name, [one for one in signatures if not one.startswith("__")], f"{model!r}: ")
    return signatures[name]


def check_names(where: str, found: Collection[str], outputs: Described) -> None:
    """Raise `ServingError` where an output is missing; more of them may come from a newer version."""
    missing = [name for name in outputs if name not in found]
    if missing:
        expected, received = ", ".join(sorted(outputs)), brief(list(found))
        raise malformed(where, f"no output {missing[0]!r}; expected {expected}; received {received}")


def check_array(where: str, name: str, found: np.ndarray, expected: tuple[str, Shape], rows: int) -> None:
    """Raise `ServingError` unless an output has the type and the shape that its signature tells, and as many rows."""
    dtype, shape = expected
    if ("string" if found.dtype == object else found.dtype.name) != dtype:
        raise malformed(where, f"{name!r}: expected {dtype}, received {found.dtype.name}")
    wanted = _wanted(shape, rows)
    if found.shape[:1] != (rows,):
        raise malformed(where, f"{name!r}: expected {rows} rows, received the shape {found.shape}")
    if wanted is None:
        return
    pairs = zip(wanted, found.shape, strict=False)
    if len(wanted) != found.ndim or any(size not in (None, given) for size, given in pairs):
        raise malformed(where, f"{name!r}: expected the shape {wanted}, received {found.shape}")


def _wanted(shape: Shape, rows: int) -> Shape:
    return shape and (rows, *shape[1:])


def from_json(where: str, name: str, values: Any, expected: tuple[str, Shape], rows: int) -> np.ndarray:
    """An output out of JSON: nested lists of equal lengths, of the type and shape of its signature.

    Strings are str, and bytes in outputs whose name ends in "_bytes". NaN and Infinity, which TensorFlow Serving writes
    as such, are numbers of float outputs. Raises `ServingError` where it is anything else.
    """
    dtype, shape = expected
    leaves, sizes = _flat(where, name, values, shape, rows)
    wrong = set(map(type, leaves)) - set(_LEAVES.get(dtype, (int,) if "int" in dtype else (int, float)))
    if wrong:
        value = next(value for value in leaves if type(value) in wrong)
        raise malformed(where, f"{name!r}: expected {dtype}, received {brief(value)}")
    try:
        array = _strings(name, leaves) if dtype == "string" else _numbers(leaves, dtype)
    except (ValueError, OverflowError) as error:
        raise malformed(where, f"{name!r}: expected {dtype}: {error}") from error
    return array.reshape(sizes)


_LEAVES: dict[str, tuple[type, ...]] = {"string": (str, dict), "bool": (bool,)}


def _flat(where: str, name: str, values: Any, shape: Shape, rows: int) -> tuple[list, list[int]]:
    """The innermost values, and the sizes of the lists around them."""
    wanted, level = _wanted(shape, rows), [values]
    sizes: list[int] = []
    while (len(sizes) < len(wanted)) if wanted is not None else (level and set(map(type, level)) == {list}):
        size = wanted[len(sizes)] if wanted else (None if sizes else rows)
        if set(map(type, level)) - {list}:
            value = next(value for value in level if type(value) is not list)
            raise malformed(where, f"{name!r}: expected {_words(wanted)}, received {brief(value)}")
        lengths = set(map(len, level)) or {size or 0}
        if len(lengths) > 1 or size not in (None, *lengths):
            expected = _words(wanted) if sizes else f"{rows} rows"
            received = ", ".join(map(str, sorted(lengths)[:5]))
            raise malformed(where, f"{name!r}: expected {expected}, received lists of {received} values")
        sizes.append(lengths.pop())
        level = list(chain.from_iterable(level))
        if len(sizes) > MOST_AXES:
            raise malformed(where, f"{name!r}: expected at most {MOST_AXES} axes")
    if list in set(map(type, level)) or not sizes:
        value = next(value for value in level if type(value) is list or not sizes)
        raise malformed(where, f"{name!r}: expected {_words(wanted)}, received {brief(value)}")
    return level, sizes


def _words(wanted: Shape) -> str:
    return f"the shape {wanted}" if wanted else "lists of equally long lists"


def _numbers(leaves: list, dtype: str) -> np.ndarray:
    if dtype == "bool":
        return np.array(leaves, bool)
    if "int" in dtype:
        limits = np.iinfo(dtype)
        for value in (min(leaves, default=0), max(leaves, default=0)):
            if not limits.min <= value <= limits.max:
                raise ValueError(f"received {brief(value)}")
        return np.array(leaves, dtype)
    exact = np.array(leaves, np.float64)
    with np.errstate(over="ignore"):
        found = exact.astype(dtype)
    beyond = np.isinf(found) & np.isfinite(exact)
    if beyond.any():
        raise ValueError(f"received {exact[beyond][0]:g}, beyond its range")
    return found


def _strings(name: str, leaves: list) -> np.ndarray:
    found = np.empty(len(leaves), object)
    for place, value in enumerate(leaves):
        if isinstance(value, str):
            value.encode()  # a lone half of a surrogate pair is no text
            if name.endswith("_bytes"):
                raise ValueError(f"received the text {brief(value)} in the place of base64")
            found[place] = value
        else:
            found[place] = _base64(value)
    return found


def _base64(value: dict) -> bytes:
    if set(value) != {"b64"} or not isinstance(value["b64"], str):
        raise ValueError(f'received {brief(value)}, not {{"b64": ...}}')
    try:
        return base64.b64decode(value["b64"].encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(f"received {brief(value['b64'])}, which is no base64") from error
