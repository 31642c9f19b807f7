"""`build`: which parts a model has, and with which options."""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

import keras

from mmkeras.alignment import aligner
from mmkeras.checks import check_share, checked_keywords
from mmkeras.errors import InputError, shown, unknown
from mmkeras.layers import MissingToken
from mmkeras.model.body import make_body, with_grids
from mmkeras.model.wiring import align as aligned
from mmkeras.model.wiring import all_tokens, for_body, inputs_of, outputs_of, presence
from mmkeras.model_spec import ModelSpec, Part
from mmkeras.schema import Schema
from mmkeras.towers import tower

Given = ParamSpec("Given")


def _spec_or_options(function: Callable[Given, keras.Model]) -> Callable[Given, keras.Model]:
    """Decorator of `build`: a spec together with options is refused, even if they say the same."""

    @functools.wraps(function)
    def checked(*values: Given.args, **options: Given.kwargs) -> keras.Model:
        spec = options.get("spec", values[1] if len(values) > 1 else None)
        beside = [name for name in options if name not in ("schema", "spec")]
        if spec is not None and beside:
            raise InputError(
                f"build: expected one ModelSpec or options by name, received {shown(spec)} and {', '.join(beside)}"
            )
        return function(*values, **options)

    return checked


@checked_keywords
@_spec_or_options
def build(
    schema: Schema,
    spec: ModelSpec | None = None,
    *,
    towers: Mapping[str, Part] | None = None,
    fusion: Part = ModelSpec.fusion,
    width: int = ModelSpec.width,
    tasks: Mapping[str, Any] | None = None,
    modality_dropout: float | Mapping[str, float] = ModelSpec.modality_dropout,
    align: Part | None = None,
) -> keras.Model:
    """Wire towers, fusion and tasks into a plain functional model.

    Args:
        schema: fitted `Schema`.
        spec: `ModelSpec`; or give its options by name.
        towers: dict of input -> tower; inputs left out get the default tower of their kind.
        fusion: name of a fusion, or a dict of "kind" and options.
        width: width of tokens and of the fused vector.
        tasks: dict of target -> task; targets left out get their default.
        modality_dropout: share of the rows, 0 to below 1, that get the missing token in training although the modality
            is there: a number for every optional input, or a dict of optional input -> number.
        align: name of an alignment, or a dict of "kind" and options, as `{"kind": "contrastive", "dim": 64}`.

    `ModelSpec` says more about each option.

    Returns:
        `keras.Model` of `schema.model_inputs`, in that order. One target: one output `(batch, ...)`; several: a dict by
        target. Its parts are the sub-models `<input>_tower` for each input, a layer `<input>_missing` (`MissingToken`)
        for each optional one, and the sub-model `body` (the tokens of all modalities -> outputs):
        `model.get_layer("body")`; with `align` also the sub-model `alignment`. With a schema without targets the model
        has no body, and the outputs are a dict of input -> vector `(batch, dim)` of unit length in the shared space:
        compile it without a loss, and fit it to `mk.batches(..., targets=False)`.

    Raises:
        InputError: a schema that is not fitted, an unknown part or option, an input that a tower cannot read, a task
            that reads grids from towers without grids, neither targets nor align; without targets also a fusion,
            modality_dropout or "through", which act after the shared space.
    """
    schema.require_fitted("build")
    if spec is None:
        spec = ModelSpec(towers or {}, fusion, width, tasks or {}, modality_dropout, align)
    for role, known in (("towers", schema.inputs), ("tasks", schema.targets)):
        for name in getattr(spec, role):
            if name not in known:
                raise unknown("input" if role == "towers" else "target", name, known, where=f"ModelSpec.{role}: ")
    if not schema.targets:
        _check_space(spec)
    try:
        return _assembled(schema, spec)
    except ValueError as error:
        if (twice := re.match(r'The name "(.+?)" is used', str(error))) is None:
            raise
        raise InputError(
            f"build: two layers would have the name {twice[1]!r}: give the input or target of this name another name, "
            "and its column by column=..."
        ) from error


def _assembled(schema: Schema, spec: ModelSpec) -> keras.Model:
    """The model that the spec describes."""
    rates, grids = _dropout_rates(schema, spec.modality_dropout), with_grids(schema, spec)
    inputs = inputs_of(schema.model_inputs)
    parts: dict[str, Any] = {}
    for name, feature in schema.inputs.items():
        choice = spec.towers.get(name)
        parts[f"{name}_tower"] = tower(feature, choice, width=spec.width, name=name, grids=name in grids)
        if feature.optional:
            parts[f"{name}_missing"] = MissingToken(rates[name], name=f"{name}_missing")
    tokens = all_tokens(schema, parts, inputs)
    if spec.align is not None:
        parts["alignment"] = aligner(tokens, presence(schema, inputs), spec.align)
    if not schema.targets:
        vectors = aligned(schema, parts, tokens, inputs)["vectors"]
        return keras.Model(list(inputs.values()), vectors, name="mmkeras")
    tokens = for_body(schema, parts, tokens, inputs)
    parts["body"] = make_body(schema, spec, tokens)
    outputs = schema.by_target(parts["body"].output)
    parts |= {name: keras.layers.Identity(name=name, dtype=value.dtype) for name, value in outputs.items()}
    return keras.Model(list(inputs.values()), outputs_of(schema, parts, tokens), name="mmkeras")


def _check_space(spec: ModelSpec) -> None:
    """Raise an `InputError` unless the spec has a shared space alone: without targets nothing comes after it."""
    if spec.align is None:
        raise InputError("build: expected targets in the schema, or align=... for a shared space, received neither")
    rates = spec.modality_dropout
    after = {
        "fusion": spec.fusion not in (ModelSpec.fusion, {"kind": ModelSpec.fusion}),
        "modality_dropout": any(rates.values()) if isinstance(rates, Mapping) else bool(rates),
        "align": isinstance(spec.align, Mapping) and bool(spec.align.get("through")),
    }
    for option, acts in after.items():
        if acts:
            raise InputError(
                f"build: expected no {option} that acts after the shared space, as the schema has no targets, "
                f"received {shown(getattr(spec, option))}"
            )


def _dropout_rates(schema: Schema, given: float | Mapping[str, float]) -> dict[str, float]:
    """Rate of modality dropout of each optional input."""
    optional = [name for name, feature in schema.inputs.items() if feature.optional]
    if not isinstance(given, Mapping):
        if given and not optional:
            raise InputError(
                f"ModelSpec: expected inputs with optional=True for modality_dropout={shown(given)}, but none of "
                f"{', '.join(schema.inputs)} is"
            )
        given = dict.fromkeys(optional, given)
    for name, rate in given.items():
        if name not in optional:
            raise unknown("optional input", name, optional, where="ModelSpec.modality_dropout: ")
        check_share(rate, "modality_dropout", f"ModelSpec: {name!r}: ")
    return {name: given.get(name, 0.0) for name in optional}
