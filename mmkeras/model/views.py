"""Other models over the layers of a model of `build`: cut after its towers, with its vector, over distinct values."""

from collections.abc import Iterable, Mapping

import keras

from mmkeras.checks import checked_keywords
from mmkeras.errors import InputError, shown, unknown
from mmkeras.layers import Tensor, Tokens
from mmkeras.model.body import FUSED
from mmkeras.model.wiring import (
    all_tokens,
    flat,
    for_body,
    inputs_of,
    outputs_of,
    part_names,
    tokens_like,
    tower_tokens,
)
from mmkeras.schema import Schema


@checked_keywords
def deduplicated_model(model: keras.Model, schema: Schema, by: str) -> keras.Model:
    """A second view over the same weights, for batches that hold each distinct picture once.

    Its layers are the model's own: train this view, then predict with and export the model. Compile it first.

    Args:
        model: `keras.Model` from `build`.
        schema: the one it was built from.
        by: name of the input with `shared=True` that many rows share.

    Returns:
        `keras.Model` of `schema.deduplicated_inputs(by)`, as `batches(..., group_by=by)` gives them: a tuple in this
        order. It is not a dict, as Keras weights a batch's loss by the length of the first input, in a dict the first
        by alphabet.

    Raises:
        InputError: `by` is not an input with `shared=True`; a model that `build` did not make of the schema; more than
            one device, among which pictures and rows would be split apart.
    """
    feature = schema.inputs.get(by)
    if feature is None:
        raise unknown("input", by, schema.inputs, where="deduplicated_model: ")
    if not feature.shared:
        raise InputError(
            f"deduplicated_model: expected {by!r} to be an input with shared=True, received {shown(feature)}"
        )
    if not schema.targets:
        raise InputError("deduplicated_model: expected a schema with targets, received one without")
    _require_one_device(model)
    parts = {layer.name: layer for layer in model.layers}
    for name in (*part_names(schema), "body", *schema.targets):
        if name not in parts:
            raise InputError(
                f"deduplicated_model: expected a model that build made of the schema, but it has no layer {name!r}; "
                f"its layers are {', '.join(parts)}"
            )
    inputs = inputs_of(schema.deduplicated_inputs(by))
    tokens = for_body(schema, parts, all_tokens(schema, parts, inputs), inputs)
    return keras.Model(list(inputs.values()), outputs_of(schema, parts, tokens), name="mmkeras_deduplicated")


def _require_one_device(model: keras.Model) -> None:
    strategy = getattr(model, "distribute_strategy", None)
    replicas = getattr(strategy, "num_replicas_in_sync", 1)
    if replicas > 1 or keras.distribution.distribution() is not None:
        raise InputError(
            "deduplicated_model: expected a model on one device, received one that is distributed over "
            "several: pictures and the rows that share them would be split apart"
        )


def halves(
    model: keras.Model, schema: Schema, towers: Iterable[str] | None = None
) -> tuple[keras.Model, keras.Model] | None:
    """A model of `build`, cut after its towers, or after some of them; None for any other model.

    Args:
        model: `keras.Model`.
        schema: of its inputs.
        towers: inputs whose towers are in the first half; None: all.

    Returns:
        Two `keras.Model` of the same layers. The first takes the tensors of `schema.model_inputs` for these inputs and
        gives a dict of name -> list of values `(batch, tokens, width)`, mask `(batch, tokens)` bool where the tower
        has one, the grids that a task reads, and present `(batch,)` bool if the input is optional. The second takes a
        list of all these, called `<name>_tokens`, `<name>_tokens_mask`, `<name>_grid0` and so on, `<name>_present`, and
        of the model's inputs for the other towers, in schema order, and gives the model's outputs.
    """
    parts = {layer.name: layer for layer in model.layers}
    if not {"body", *part_names(schema)} <= parts.keys():
        return None
    if list(schema.model_inputs) != [tensor.name for tensor in model.inputs]:
        return None
    inputs = inputs_of(schema.model_inputs)
    first = set(schema.inputs if towers is None else towers)
    tokens = {name: tower_tokens(schema, parts, inputs, name) for name in schema.inputs if name in first}
    given = [x for name in tokens for x in _of_input(schema, name, inputs)]
    front = keras.Model(given, _with_present(tokens, inputs))
    inputs = inputs_of(schema.model_inputs)
    cut = {name: tokens_like(name, part) for name, part in tokens.items()}
    tokens = {name: cut.get(name) or tower_tokens(schema, parts, inputs, name) for name in schema.inputs}
    second = {name: _of_input(schema, name, inputs) for name in schema.inputs} | _with_present(cut, inputs)
    outputs = outputs_of(schema, parts, for_body(schema, parts, tokens, inputs))
    return front, keras.Model([x for tensors in second.values() for x in tensors], outputs)


def _of_input(schema: Schema, name: str, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """The inputs of one modality, side inputs included."""
    return [inputs[name + suffix] for suffix in schema.inputs[name].received]


def _with_present(tokens: Mapping[str, Tokens], inputs: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """Dict of name -> list of the tokens' tensors and, of an optional input, whether it is present."""
    present = {name: [inputs[key] for key in [f"{name}_present"] if key in inputs] for name in tokens}
    return {name: [*part.tensors, *present[name]] for name, part in tokens.items()}


def with_embedding(model: keras.Model, schema: Schema) -> keras.Model | None:
    """A model of `build` that gives its fused vector too.

    Args:
        model: `keras.Model`.
        schema: of its inputs.

    Returns:
        `keras.Model` of the same layers and inputs, whose outputs are `[outputs, vector]`: those of the model, and
        `(batch, width)`. None for any other model, for a fusion of decisions, and where no task reads the vector.
    """
    parts = {layer.name: layer for layer in model.layers}
    if not {"body", *part_names(schema)} <= parts.keys():
        return None
    body = parts["body"]
    if not any(layer.name == FUSED for layer in body.layers):
        return None
    body = keras.Model(body.inputs, [body.output, body.get_layer(FUSED).output])
    inputs = inputs_of(schema.model_inputs)
    tokens = for_body(schema, parts, all_tokens(schema, parts, inputs), inputs)
    return keras.Model(list(inputs.values()), body(flat(tokens)))
