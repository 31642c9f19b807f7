"""JSON as TensorFlow Serving reads it (util/json_tensor.cc, branch 2.20): the same values taken, the same refused."""

import base64
import json
import re

import numpy as np
import tensorflow as tf

MOST_SHOWN = 256  # bytes of a value in a message, of whole tokens
PARSER = {  # what Python's parser says, as RapidJSON says it
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
    "Invalid control character at": "Invalid encoding in string.",
}
TYPES = {type(None): "Null", dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}
WHOLE = {"uint32": (0, 2**32), "int64": (-(2**63), 2**63), "uint64": (0, 2**64)}


class Refused(Exception):
    """A request that is answered with an error: a code of gRPC and the server's words."""

    def __init__(self, said, code="INVALID_ARGUMENT"):
        super().__init__(said)
        self.code, self.said = code, said


def parsed(body):
    """The object in a request's body; what follows it is not looked at. Of equal keys the first counts."""
    if not body:
        raise Refused("JSON Parse error: The document is empty")
    text = body.decode("utf-8", "surrogateescape").lstrip(" \n\r\t")
    if not text:
        raise Refused(f"JSON Parse error: The document is empty. at offset: {len(body)}")
    before = len(body) - len(text.encode("utf-8", "surrogateescape"))
    try:
        decoder = json.JSONDecoder(object_pairs_hook=_first)
        asked, _ = decoder.raw_decode(text)
    except json.JSONDecodeError as error:
        said = next((words for start, words in PARSER.items() if error.msg.startswith(start)), None)
        raise Refused(
            f"JSON Parse error: {said or _missing_comma(text[: error.pos])} at offset: {before + error.pos}"
        ) from error
    except RecursionError as error:  # RapidJSON parses by iteration; deeper than any tensor
        raise Refused("JSON Parse error: Invalid value. at offset: 0") from error
    if not isinstance(asked, dict):
        raise Refused(f"JSON Value: {shown(asked)} Is not object")
    return asked


def _first(pairs):
    found = {}
    for key, value in pairs:
        found.setdefault(key, value)
    return found


def _missing_comma(text):
    opened = []
    for mark in re.findall(r"[\[\]{}]", re.sub(r'"(?:\\.|[^"\\])*"', "", text)):
        opened = [*opened, mark] if mark in "[{" else opened[:-1]
    if opened[-1:] == ["{"]:
        return "Missing a comma or } after an object member."
    return "Missing a comma or ] after an array element."


def signature_of(asked):
    """The name of the signature, "" for the default."""
    name = asked.get("signature_name", "")
    if not isinstance(name, str):
        raise Refused(
            f"JSON Value: {shown(asked)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def shown(value):
    """A value in a message: RapidJSON's pretty writer with arrays on one line, cut after `MOST_SHOWN` bytes."""
    pieces = []
    for piece in _pieces(value, 0):
        if sum(map(len, pieces)) >= MOST_SHOWN:
            break
        pieces.append(piece)
    return "".join(pieces)


def _pieces(value, level, before=""):
    if isinstance(value, list):
        yield before + "["
        for number, one in enumerate(value):
            yield from _pieces(one, level + 1, ", " if number else "")
        yield "]"
    elif isinstance(value, dict):
        yield before + "{"
        for number, (key, one) in enumerate(value.items()):
            yield ("," if number else "") + "\n" + "    " * (level + 1) + json.dumps(key, ensure_ascii=False)
            yield from _pieces(one, level + 1, ": ")
        yield ("\n" + "    " * level if value else "") + "}"
    else:
        yield before + json.dumps(value, ensure_ascii=False)


def tensors_of(asked, taken):
    """The arrays of a Predict request, and whether they were given as rows.

    Args:
        asked: of `parsed`.
        taken: dict of input -> TensorInfo of the signature.
    """
    rows, columns = "instances" in asked, "inputs" in asked
    if rows and columns:
        wrong = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        raise Refused(f"JSON Value: {shown(asked)} {wrong}")
    if rows:
        if not isinstance(asked["instances"], list):
            raise Refused(f"JSON Value: {shown(asked)} Expecting 'instances' to be an list/array")
        if not asked["instances"]:
            raise Refused(f"JSON Value: {shown(asked)} No values in 'instances' array")
        return _from_rows(asked["instances"], taken), True
    if not columns:
        raise Refused("Missing 'inputs' or 'instances' key")
    given = asked["inputs"]
    if not isinstance(given, dict) or _is_bytes(given):
        if len(taken) > 1:
            raise Refused(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        given = {next(iter(taken)): given}
    for name in taken:
        if name not in given:
            raise Refused(f"Missing named input: {name} in 'inputs' object.")
    # what else the object holds is not looked at
    return {name: _array(*_dense(given[name], info.dtype), info.dtype) for name, info in taken.items()}, False


def _from_rows(rows, taken):
    if not isinstance(rows[0], dict) and len(taken) > 1:
        raise Refused(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named, found, shapes = _is_row(rows[0]), {}, {}
    for number, row in enumerate(rows):
        where = f"Failed to process element: {number}"
        if named != _is_row(row):
            wrong = "object but got list" if named else "value/list but got object"
            raise Refused(f"Expecting {wrong} at item {number} of input list")
        for name, value in row.items() if named else [(next(iter(taken)), row)]:
            try:
                _add(name, value, taken, found, shapes)
            except Refused as error:
                key = f" key: {name}" if named else ""
                raise Refused(
                    f"{where}{key} of 'instances' list. Error: INVALID_ARGUMENT: {error.said}", error.code
                ) from error
        if named and set(row) != set(taken):
            raise Refused(
                f"{where} of 'instances' list. JSON object: {shown(row)} keys must be equal to: "
                f"{','.join(sorted(taken))}"
            )
    return {
        name: _array([v for values in each for v in values], (len(rows), *shapes[name]), taken[name].dtype)
        for name, each in found.items()
    }


def _is_row(value):
    return isinstance(value, dict) and not _is_bytes(value)


def _add(name, value, taken, found, shapes):
    if name not in taken:
        raise Refused(f"JSON object: does not have named input: {name}")
    values, shape = _dense(value, taken[name].dtype)
    known = shapes.setdefault(name, shape)
    if len(values) != int(np.prod(known)):
        raise Refused(f"Expecting tensor size: {int(np.prod(known))} but got: {len(values)}")
    if known != shape:
        had, got = (f"[{','.join(map(str, one))}]" for one in (known, shape))
        raise Refused(f"Expecting shape {had} but got: {got}")
    found.setdefault(name, []).append(values)


def _dense(value, dtype):
    """The values of nested lists, flat, and their shape, which is that of the first of each."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    values = []
    _fill(value, 0, tuple(shape), tf.as_dtype(dtype), values)
    return values, tuple(shape)


def _fill(value, level, shape, dtype, values):
    if not isinstance(value, list):
        if level != len(shape):
            raise Refused(
                f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at level: "
                f"{len(shape)}"
            )
        values.append(_leaf(value, dtype))
        return
    if level >= len(shape):
        raise Refused(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise Refused(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for one in value:
        _fill(one, level + 1, shape, dtype, values)


def _is_bytes(value):
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def unescaped(value):
    """The bytes of `{"b64": ...}`, with or without padding."""
    if not _is_bytes(value):
        raise Refused(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    text = re.sub(r"\s", "", value["b64"])
    bare = text.rstrip("=") if len(text) % 4 == 0 and not text.endswith("===") else text
    if not re.fullmatch(r"[A-Za-z0-9+/]*", bare) or len(bare) % 4 == 1:
        raise Refused("Unable to base64 decode")
    return base64.b64decode(bare + "=" * (-len(bare) % 4))


def _leaf(value, dtype):
    if isinstance(value, dict) and dtype == tf.string:
        return unescaped(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if dtype == tf.string:
        right = isinstance(value, str)
    elif dtype == tf.bool:
        right = isinstance(value, bool)
    elif dtype in (tf.float32, tf.float64):
        right = number
    elif dtype.is_integer and dtype not in (tf.uint16,):
        least, most = WHOLE.get(dtype.name, (-(2**31), 2**31))
        right = number and isinstance(value, int) and least <= value < most
    else:
        raise Refused(f"Conversion of JSON Value: {shown(value)} to type: {_named(dtype)}", "UNIMPLEMENTED")
    if not right:
        raise Refused(f"JSON Value: {shown(value)} Type: {_type(value)} is not of expected type: {_named(dtype)}")
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _type(value):
    return str(value) if isinstance(value, bool) else TYPES[type(value)]


def _named(dtype):
    return {"float32": "float", "float64": "double", "float16": "half"}.get(dtype.name, dtype.name)


def _array(values, shape, dtype):
    dtype = tf.as_dtype(dtype)
    flat = np.empty(len(values), object)
    flat[:] = values
    if dtype != tf.string:
        with np.errstate(over="ignore"):
            flat = flat.astype("int64" if dtype.is_integer and dtype != tf.uint64 else dtype.as_numpy_dtype)
            flat = flat.astype(dtype.as_numpy_dtype)
    return flat.reshape(shape)


def examples_of(asked):
    """The serialised tf.Examples of a Classify or Regress request."""
    context = _example(asked["context"]) if "context" in asked else b""
    if "examples" not in asked:
        wrong = "When method is classify, key 'examples' is expected and was not found"
        raise Refused(f"JSON Value: {shown(asked)} {wrong}")
    if not isinstance(asked["examples"], list):
        raise Refused(f"JSON Value: {shown(asked)} Expecting 'examples' value to be an list/array")
    if not asked["examples"]:
        raise Refused(f"JSON Value: {shown(asked)} 'examples' value is an empty array")
    return [context + _example(one) for one in asked["examples"]]


def _example(content):
    if not isinstance(content, dict):
        raise Refused(f"Example must be JSON object but got JSON {_type(content)}")
    example = tf.train.Example()
    for name, given in content.items():
        feature = example.features.feature[name]
        for value in given if isinstance(given, list) else [given]:
            _add_value(name, feature, value)
    return example.SerializeToString()


def _add_value(name, feature, value):
    if value is None or isinstance(value, list) or (isinstance(value, dict) and not _is_bytes(value)):
        raise Refused(f"Feature: {name} has element with unexpected JSON type: {_type(value)}")
    kind = "bytes" if isinstance(value, dict | str) else "float" if isinstance(value, float) else "int64"
    had = feature.WhichOneof("kind")
    if had not in (None, f"{kind}_list"):  # numbers without a decimal point are int64
        raise Refused(f"Unexpected element type in feature: {name} expecting type: {had.removesuffix('_list')}")
    if isinstance(value, dict):
        value = unescaped(value)
    elif isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    getattr(feature, f"{kind}_list").value.append(value)


def written(values, name):
    """An array as the server writes it: bytes in base64 if the name ends in "_bytes", floats with their few digits."""
    return _written(values.tolist(), values.dtype, name.endswith("_bytes"))


def _written(value, dtype, as_bytes):
    if isinstance(value, list):
        return [_written(one, dtype, as_bytes) for one in value]
    if isinstance(value, float):
        return float(str(dtype.type(value)))
    if not isinstance(value, bytes):
        return value
    return {"b64": base64.b64encode(value).decode()} if as_bytes else value.decode("utf-8", "replace")
