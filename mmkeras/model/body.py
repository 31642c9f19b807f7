"""The sub-model "body": fusion and tasks, from the tokens of all modalities to the outputs."""

from collections.abc import Mapping

import keras

from mmkeras.errors import InputError
from mmkeras.fusion import fuse
from mmkeras.layers import Fused, Tensor, Tokens, hide_padding, input_like, masked_mean
from mmkeras.model.wiring import flat, tokens_like
from mmkeras.model_spec import ModelSpec
from mmkeras.schema import Schema, inputs_read
from mmkeras.tasks import choose_task, output, token

FUSED = "fused"  # the layer in "body" that gives the fused vector


def reads_of(schema: Schema, spec: ModelSpec) -> dict[str, str]:
    """The part of the fusion that the task of each target reads: "vector", "tokens" or "grid"."""
    return {name: choose_task(t, spec.tasks.get(name), name).part.reads for name, t in schema.targets.items()}


def with_grids(schema: Schema, spec: ModelSpec) -> set[str]:
    """The inputs whose grids a task reads."""
    reading = [name for name, reads in reads_of(schema, spec).items() if reads == "grid"]
    return {read for name in reading for read in inputs_read(schema.targets[name]) or schema.inputs}


def make_body(schema: Schema, spec: ModelSpec, tokens: Mapping[str, Tokens]) -> keras.Model:
    """The sub-model from tokens like these to the outputs."""
    inputs = {name: tokens_like(name, part) for name, part in tokens.items()}
    reads, joining, outputs = reads_of(schema, spec), dict(inputs), {}

    def add(name: str, fused: Fused, read: Mapping[str, Tokens]) -> None:
        fused = fused._replace(grids=_grids(name, read) if reads[name] == "grid" else None)
        outputs[name] = output(fused, schema.targets[name], spec.tasks.get(name), name=name)

    for name, target in schema.targets.items():
        own = {key: part for key, part in inputs.items() if key in inputs_read(target)}
        if len(own) == 1:
            part = next(iter(own.values()))._replace(grids=())
            add(name, Fused(masked_mean(part), part), own)
            joins = token(outputs[name], target, spec.tasks.get(name), width=spec.width, name=name)
            joining |= {} if joins is None else {name: joins}
        elif own:  # the output joins nothing: the fusion of all has the same tokens
            add(name, _own_fusion(schema, spec, own, name, reads[name]), own)
    fused = _fused(schema, spec, joining)
    if fused.vector is not None:
        fused = fused._replace(vector=keras.layers.Identity(name=FUSED)(fused.vector))
    for name, target in schema.targets.items():
        if target.reads is None:
            add(name, fused, inputs)
    return keras.Model(flat(inputs), schema.fold({name: outputs[name] for name in schema.targets}), name="body")


def _grids(target: str, inputs: Mapping[str, Tokens]) -> dict[str, tuple[Tensor, ...]]:
    """The grids of these inputs; an error if there are none."""
    grids = {name: part.grids for name, part in inputs.items() if part.grids}
    if not grids:
        raise InputError(
            f"{target!r}: its task reads grids: expected a tower that gives them, as 'conv' or 'residual' for a "
            f"picture, for one of {', '.join(inputs)}"
        )
    return grids


def _fused(schema: Schema, spec: ModelSpec, tokens: Mapping[str, Tokens]) -> Fused:
    """The output of the spec's fusion for the tokens, brought to its width."""
    tokens = {name: _of_width(part, spec.width, name) for name, part in tokens.items()}
    return fuse(tokens, spec.fusion, width=spec.width, features=schema.inputs)


def _own_fusion(schema: Schema, spec: ModelSpec, tokens: Mapping[str, Tokens], target: str, reads: str) -> Fused:
    """The output of a fusion for one target, in a sub-model, as its layers have the same names as the others."""
    tokens = {name: part._replace(grids=()) for name, part in tokens.items()}
    inputs = {name: Tokens(*map(input_like, part[:2])) for name, part in tokens.items()}
    try:
        fused = _fused(schema, spec, inputs)
    except InputError as error:
        raise InputError(f"{target!r}, which reads {', '.join(tokens)}: {error}") from error
    wanted = fused.tokens.pair if reads == "tokens" else fused.decisions or fused.vector
    made = keras.Model(flat(inputs), wanted, name=f"{target}_fusion")(flat(tokens))
    if reads == "tokens":
        return Fused(None, Tokens.of(made))
    return Fused(None, decisions=made) if fused.decisions else Fused(made)


def _of_width(tokens: Tokens, width: int, name: str) -> Tokens:
    """The tokens without grids, through a dense layer if their width is another."""
    tokens = tokens._replace(grids=())
    if tokens.values.shape[-1] == width:
        return tokens
    return hide_padding(tokens._replace(values=keras.layers.Dense(width, name=f"{name}_to_width")(tokens.values)))
