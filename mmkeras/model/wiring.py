"""From the inputs of a model to the tokens of all modalities, and from the body to the outputs.

`parts` is a dict of layer name -> layer: `<input>_tower`, `<input>_missing` of each optional input, "alignment",
"body", and a layer of the name of each target.
"""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from mmkeras.layers import Tensor, Tokens, input_like
from mmkeras.schema import Schema

Parts = Mapping[str, Any]


def inputs_of(given: Mapping[str, tuple[tuple[int, ...], str]]) -> dict[str, Tensor]:
    """Inputs by name, from a dict of name -> (shape without the batch, dtype)."""
    return {name: keras.Input(shape, dtype=dtype, name=name) for name, (shape, dtype) in given.items()}


def part_names(schema: Schema) -> list[str]:
    """Names of the layers between inputs and body: `<input>_tower`, `<input>_missing`."""
    given = ((name, feature, kind) for name, feature in schema.inputs.items() for kind in ("tower", "missing"))
    return [f"{name}_{kind}" for name, feature, kind in given if kind == "tower" or feature.optional]


def tower_tokens(schema: Schema, parts: Parts, inputs: Mapping[str, Tensor], name: str) -> Tokens:
    """The tokens of one tower.

    Args:
        schema: `Schema`.
        parts: see above.
        inputs: dict of name -> tensor, as `schema.model_inputs`; with `<name>_index` `(batch,)` int32 also, `name` and
            `<name>_length` have a row for each distinct value, and its tokens are gathered.
        name: of the input.
    """
    feature, x, index = schema.inputs[name], inputs[name], inputs.get(f"{name}_index")
    if feature.optional and index is None and feature.dtype == "float32":
        x = _without_missing(x, inputs[f"{name}_present"])
    given = [x, *(inputs[key] for key in schema.tower_inputs(name) if key != name)]
    tokens = Tokens.of(parts[f"{name}_tower"](given if len(given) > 1 else x))
    return tokens if index is None else tokens.map(lambda tensor: ops.take(tensor, index, axis=0))


def all_tokens(schema: Schema, parts: Parts, inputs: Mapping[str, Tensor]) -> dict[str, Tokens]:
    """The tokens of all towers, in schema order; see `tower_tokens`."""
    return {name: tower_tokens(schema, parts, inputs, name) for name in schema.inputs}


def _without_missing(x: Tensor, present: Tensor) -> Tensor:
    """Zeros in missing rows: NaN there would reach the towers' gradients, as 0 * NaN."""
    return ops.where(ops.reshape(present, (-1,) + (1,) * (len(x.shape) - 1)), x, ops.zeros_like(x))


def presence(schema: Schema, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Dict of optional input -> `(batch,)` bool, whether it is there."""
    return {name: inputs[f"{name}_present"] for name, feature in schema.inputs.items() if feature.optional}


def align(schema: Schema, parts: Parts, tokens: Mapping[str, Tokens], inputs: Mapping[str, Tensor]) -> dict[str, Any]:
    """The outputs of the sub-model "alignment": dict of "tokens" and "vectors"."""
    given = {name: part.pair for name, part in tokens.items()}
    return parts["alignment"]({"tokens": given, "present": presence(schema, inputs)})


def for_body(
    schema: Schema, parts: Parts, tokens: Mapping[str, Tokens], inputs: Mapping[str, Tensor]
) -> dict[str, Tokens]:
    """The tokens, aligned if the model has an alignment, with missing tokens where optional inputs are missing.

    Grids are not aligned; where the input is missing they are zeros.
    """
    tokens = dict(tokens)
    if "alignment" in parts:
        aligned = align(schema, parts, tokens, inputs)["tokens"]
        tokens = {name: Tokens.of(aligned[name])._replace(grids=part.grids) for name, part in tokens.items()}
    for name, present in presence(schema, inputs).items():
        values, mask, grids = tokens[name]
        tokens[name] = Tokens.of(parts[f"{name}_missing"](values, mask, present, *([list(grids)] if grids else [])))
    return tokens


def outputs_of(schema: Schema, parts: Parts, tokens: Mapping[str, Tokens]) -> Any:
    """The body's outputs under their targets' names; otherwise Keras would name them all "body"."""
    outputs = schema.by_target(parts["body"](flat(tokens)))
    return schema.fold({name: parts[name](outputs[name]) for name in schema.targets})


def flat(tokens: Mapping[str, Tokens]) -> list[Tensor]:
    """The tensors of all tokens in one list."""
    return [tensor for part in tokens.values() for tensor in part.tensors]


def tokens_like(name: str, tokens: Tokens) -> Tokens:
    """Inputs for tokens like these: `<name>_tokens`, `<name>_tokens_mask`, `<name>_grid0` and so on."""
    grids = [input_like(grid, f"{name}_grid{number}") for number, grid in enumerate(tokens.grids)]
    mask = input_like(tokens.mask, f"{name}_tokens_mask")
    return Tokens(input_like(tokens.values, f"{name}_tokens"), mask, tuple(grids))
