"""A schema and a ModelSpec become an ordinary functional keras.Model."""

from collections.abc import Mapping

import keras
from keras import ops

from mmkeras.alignment import aligner
from mmkeras.checks import check_share
from mmkeras.errors import InputError, unknown
from mmkeras.fusion import fuse
from mmkeras.layers import MissingToken, Tokens, hide_padding, input_like, masked_mean
from mmkeras.model_spec import ModelSpec
from mmkeras.schema import Schema
from mmkeras.tasks import output, token
from mmkeras.towers import tower

FUSED = "fused"  # the layer in "body" that gives the fused vector


def build(schema, spec=None, **options):
    """Wire towers, fusion and heads into a plain functional model.

    Args:
        schema: fitted `Schema`.
        spec: `ModelSpec`; or give its options by name: towers, fusion, width, tasks, modality_dropout, align.

    Returns:
        `keras.Model` of `schema.model_inputs`, in that order. One target: one output `(batch, ...)`; several: a dict by
        target. Its parts are the sub-models `<input>_tower` for each input, a layer `<input>_missing` (`MissingToken`)
        for each optional one, and the sub-model `body` (the tokens of all modalities -> outputs):
        `model.get_layer("body")`; with `align` also the sub-model `alignment`. Of a schema without targets there is no
        body, and the outputs are a dict of input -> vector `(batch, dim)` of unit length in the shared space: compile
        it without a loss, and fit it to `mk.batches(..., targets=False)`. A model with optional inputs, `align` or some
        of the parts has layers of mmkeras: `import mmkeras.model` before `keras.models.load_model`.

    Raises:
        InputError: a schema that is not fitted, an unknown part or option, an input that a tower cannot read, neither
            targets nor align; without targets a fusion, modality_dropout or "through", which act behind the space.
    """
    if not isinstance(schema, Schema):
        raise InputError(f"build: expected a Schema, received {type(schema).__name__}")
    schema.require_fitted("build")
    if spec is None:
        spec = ModelSpec.from_options(options)
    elif not isinstance(spec, ModelSpec) or options:
        raise InputError(f"build: expected one ModelSpec or options by name, received {spec!r} and {options}")
    for role, known in (("towers", schema.inputs), ("tasks", schema.targets)):
        for name in getattr(spec, role):
            if name not in known:
                raise unknown("input" if role == "towers" else "target", name, known, where=f"ModelSpec.{role}: ")
    if not schema.targets:
        _check_space(spec)
    rates = _dropout_rates(schema, spec.modality_dropout)
    inputs = _inputs(schema.model_inputs)
    parts = {}
    for name, feature in schema.inputs.items():
        parts[f"{name}_tower"] = tower(feature, spec.towers.get(name), width=spec.width, name=name)
        if feature.optional:
            parts[f"{name}_missing"] = MissingToken(rates[name], name=f"{name}_missing")
    tokens = _towers(schema, parts, inputs)
    if spec.align is not None:
        parts["alignment"] = aligner(tokens, _presence(schema, inputs), spec.align)
    if not schema.targets:
        return keras.Model(list(inputs.values()), _align(schema, parts, tokens, inputs)["vectors"], name="mmkeras")
    tokens = _missing(schema, parts, tokens, inputs)
    parts["body"] = _body(schema, spec, tokens)
    outputs = by_target(schema, parts["body"].output)
    parts |= {name: keras.layers.Identity(name=name, dtype=value.dtype) for name, value in outputs.items()}
    return keras.Model(list(inputs.values()), _answers(schema, parts, tokens), name="mmkeras")


def _check_space(spec):
    """Raise an `InputError` unless the spec is of a shared space alone: without targets nothing stands behind it."""
    if spec.align is None:
        raise InputError("build: expected targets in the schema, or align=... for a shared space, received neither")
    rates = spec.modality_dropout
    behind = {
        "fusion": spec.fusion not in (ModelSpec.fusion, {"kind": ModelSpec.fusion}),
        "modality_dropout": any(rates.values()) if isinstance(rates, Mapping) else bool(rates),
        "align": isinstance(spec.align, Mapping) and bool(spec.align.get("through")),
    }
    for option, acts in behind.items():
        if acts:
            raise InputError(
                f"build: expected no {option} that acts behind the shared space, as the schema has no targets, "
                f"received {getattr(spec, option)!r}"
            )


def _dropout_rates(schema, given):
    """Rate of modality dropout of each optional input."""
    optional = [name for name, feature in schema.inputs.items() if feature.optional]
    if not isinstance(given, Mapping):
        if given and not optional:
            raise InputError(
                f"ModelSpec: expected inputs with optional=True for modality_dropout={given!r}, but none of "
                f"{', '.join(schema.inputs)} is"
            )
        given = dict.fromkeys(optional, given)
    for name, rate in given.items():
        if name not in optional:
            raise unknown("optional input", name, optional, where="ModelSpec.modality_dropout: ")
        check_share(rate, "modality_dropout", f"ModelSpec: {name!r}: ")
    return {name: given.get(name, 0.0) for name in optional}


def deduplicated_model(model, schema, by):
    """A second view over the same weights, for batches in which each distinct picture stands once.

    Its layers are the model's own: train this view, then predict with and export the model. Compile it first.

    Args:
        model: `keras.Model` from `build`.
        schema: the one it was built from.
        by: name of the input with `shared=True` that many rows share.

    Returns:
        `keras.Model` of `schema.deduplicated_inputs(by)`, as `batches(..., group_by=by)` gives them: a tuple in this
        order, not a dict, as Keras weighs a batch's loss by the length of the first input, of a dict the first by
        alphabet.

    Raises:
        InputError: `by` is not an input with `shared=True`; a model that `build` did not make of the schema; more than
            one device, among which pictures and rows would be split apart.
    """
    feature = schema.inputs.get(by)
    if feature is None:
        raise unknown("input", by, schema.inputs, where="deduplicated_model: ")
    if not feature.shared:
        raise InputError(f"deduplicated_model: expected {by!r} to be an input with shared=True, received {feature!r}")
    if not schema.targets:
        raise InputError("deduplicated_model: expected a schema with targets, received one without")
    _require_one_device(model)
    parts = {layer.name: layer for layer in model.layers}
    for name in (*_tower_names(schema), "body", *schema.targets):
        if name not in parts:
            raise InputError(
                f"deduplicated_model: expected a model that build made of the schema, but it has no layer {name!r}; "
                f"its layers are {', '.join(parts)}"
            )
    inputs = _inputs(schema.deduplicated_inputs(by))
    tokens = _missing(schema, parts, _towers(schema, parts, inputs), inputs)
    return keras.Model(list(inputs.values()), _answers(schema, parts, tokens), name="mmkeras_deduplicated")


def _require_one_device(model):
    strategy = getattr(model, "distribute_strategy", None)
    replicas = getattr(strategy, "num_replicas_in_sync", 1)
    if replicas > 1 or keras.distribution.distribution() is not None:
        raise InputError(
            "deduplicated_model: expected a model on one device, received one that is distributed over "
            "several: pictures and the rows that share them would be split apart"
        )


def _inputs(given):
    """Inputs by name, from a dict of name -> (shape, dtype)."""
    return {name: keras.Input(shape, dtype=dtype, name=name) for name, (shape, dtype) in given.items()}


def halves(model, schema, towers=None):
    """A model of `build`, cut behind its towers, or behind some of them; None for any other model.

    Args:
        model: `keras.Model`.
        schema: of its inputs.
        towers: inputs whose towers are in the first half; None: all.

    Returns:
        Two `keras.Model` of the same layers. The first takes those of `schema.model_inputs` that are of these inputs
        and gives a dict of name -> list of values `(batch, tokens, width)`, mask `(batch, tokens)` bool where the tower
        has one, and present `(batch,)` bool if the input is optional. The second takes a list of all these, called
        `<name>_tokens`, `<name>_tokens_mask` and `<name>_present`, and of the model's inputs for the other towers, in
        schema order, and gives the model's answers.
    """
    parts = {layer.name: layer for layer in model.layers}
    if not {"body", *_tower_names(schema)} <= parts.keys():
        return None
    if list(schema.model_inputs) != [tensor.name for tensor in model.inputs]:
        return None
    inputs = _inputs(schema.model_inputs)
    towers = [name for name in schema.inputs if towers is None or name in towers]
    tokens = {name: _tower(schema, parts, inputs, name) for name in towers}
    given = [x for name in towers for x in _inputs_of(name, inputs)]
    front = keras.Model(given, _with_present(tokens, inputs))
    inputs = _inputs(schema.model_inputs)
    cut = {name: _tokens_like(name, part) for name, part in tokens.items()}
    tokens = {name: cut.get(name) or _tower(schema, parts, inputs, name) for name in schema.inputs}
    given = {name: _inputs_of(name, inputs) for name in schema.inputs} | _with_present(cut, inputs)
    answers = _answers(schema, parts, _missing(schema, parts, tokens, inputs))
    return front, keras.Model([x for part in given.values() for x in part], answers)


def _inputs_of(name, inputs):
    """The inputs of one modality, side inputs included."""
    return [inputs[key] for key in (name, f"{name}_length", f"{name}_present") if key in inputs]


def _tokens_like(name, tokens):
    """Inputs for tokens like these."""
    return Tokens(input_like(tokens.values, f"{name}_tokens"), input_like(tokens.mask, f"{name}_tokens_mask"))


def with_embedding(model, schema):
    """A model of `build` that gives its fused vector too; None for any other model, or a fusion of decisions.

    Args:
        model: `keras.Model`.
        schema: of its inputs.

    Returns:
        `keras.Model` of the same layers and inputs, whose outputs are `[answers, vector]`: what the model answers, and
        `(batch, width)`.
    """
    parts = {layer.name: layer for layer in model.layers}
    if not {"body", *_tower_names(schema)} <= parts.keys():
        return None
    body = parts["body"]
    if not any(layer.name == FUSED for layer in body.layers):
        return None
    body = keras.Model(body.inputs, [body.output, body.get_layer(FUSED).output])
    inputs = _inputs(schema.model_inputs)
    tokens = _missing(schema, parts, _towers(schema, parts, inputs), inputs)
    return keras.Model(list(inputs.values()), body(_flat(tokens)))


def _with_present(tokens, inputs):
    """Dict of name -> list of values, mask and present, of those that there are."""
    parts = {name: (*part, inputs.get(f"{name}_present")) for name, part in tokens.items()}
    return {name: [value for value in part if value is not None] for name, part in parts.items()}


def _tower_names(schema):
    """Names of the layers between inputs and body: `<input>_tower`, `<input>_missing`."""
    given = ((name, feature, kind) for name, feature in schema.inputs.items() for kind in ("tower", "missing"))
    return [f"{name}_{kind}" for name, feature, kind in given if kind == "tower" or feature.optional]


def _answers(schema, parts, tokens):
    """The body's outputs, under their targets' names, which they would otherwise lose to "body"."""
    outputs = by_target(schema, parts["body"](_flat(tokens)))
    return _one_or_all({name: parts[name](outputs[name]) for name in schema.targets})


def _towers(schema, parts, inputs):
    """What the towers make of the inputs: dict of name -> `Tokens`, in schema order.

    Args:
        schema: `Schema`.
        parts: dict of layer name -> layer.
        inputs: dict of name -> tensor, as `schema.model_inputs`; with `<name>_index` `(batch,)` int32 also, `name` and
            `<name>_length` have a row for each distinct picture, and its tokens are gathered.
    """
    return {name: _tower(schema, parts, inputs, name) for name in schema.inputs}


def _tower(schema, parts, inputs, name):
    """What one tower makes of its input: `Tokens`."""
    feature, x, index = schema.inputs[name], inputs[name], inputs.get(f"{name}_index")
    if feature.optional and index is None and feature.dtype == "float32":
        x = _without_missing(x, inputs[f"{name}_present"])
    tokens = _as_tokens(parts[f"{name}_tower"]([x, inputs[f"{name}_length"]] if feature.padded else x))
    if index is None:
        return tokens
    return Tokens(*(None if value is None else ops.take(value, index, axis=0) for value in tokens))


def _without_missing(x, present):
    """Zeros in missing rows: NaN there would reach the towers' gradients, as 0 * NaN."""
    return ops.where(ops.reshape(present, (-1,) + (1,) * (len(x.shape) - 1)), x, ops.zeros_like(x))


def _presence(schema, inputs):
    """Dict of optional input -> `(batch,)` bool, whether it is there."""
    return {name: inputs[f"{name}_present"] for name, feature in schema.inputs.items() if feature.optional}


def _align(schema, parts, tokens, inputs):
    """What the sub-model "alignment" gives: dict of "tokens" and "vectors"."""
    given = {name: [part for part in pair if part is not None] for name, pair in tokens.items()}
    return parts["alignment"]({"tokens": given, "present": _presence(schema, inputs)})


def _missing(schema, parts, tokens, inputs):
    """The tokens, aligned if the model does that, with the missing token of each optional input where it is missing."""
    if "alignment" in parts:
        aligned = _align(schema, parts, tokens, inputs)["tokens"]
        tokens = {name: Tokens(*aligned[name]) for name in tokens}
    optional = [name for name, feature in schema.inputs.items() if feature.optional]
    replaced = {name: parts[f"{name}_missing"](*tokens[name], inputs[f"{name}_present"]) for name in optional}
    return tokens | {name: _as_tokens(part) for name, part in replaced.items()}


def _as_tokens(outputs):
    """Towers and missing tokens give values, or [values, mask]: `Tokens` of them."""
    return Tokens(*outputs) if isinstance(outputs, (list, tuple)) else Tokens(outputs)


def by_target(schema, answers):
    """A model's answers as a dict by target, also where there is only one."""
    return answers if len(schema.targets) > 1 else {next(iter(schema.targets)): answers}


def _one_or_all(outputs):
    return outputs if len(outputs) > 1 else next(iter(outputs.values()))


def _flat(tokens):
    """Values and masks of all tokens in one list."""
    return [tensor for part in tokens.values() for tensor in part if tensor is not None]


def _body(schema, spec, tokens):
    """The sub-model from tokens like these to the outputs."""
    inputs = {name: _tokens_like(name, part) for name, part in tokens.items()}
    outputs, given = {}, dict(inputs)
    for name, target in schema.targets.items():
        if isinstance(target.reads, str):
            outputs[name] = output(masked_mean(inputs[target.reads]), target, spec.tasks.get(name), name=name)
            joins = token(outputs[name], target, spec.tasks.get(name), width=spec.width, name=name)
            given |= {} if joins is None else {name: joins}
        elif target.reads is not None:  # what it answers joins nothing: the fusion of all has the same tokens
            own = {key: part for key, part in inputs.items() if key in target.reads}
            outputs[name] = output(_own_fusion(schema, spec, own, name), target, spec.tasks.get(name), name=name)
    fused = _fused(schema, spec, given)
    if not isinstance(fused, dict):
        fused = keras.layers.Identity(name=FUSED)(fused)
    for name, target in schema.targets.items():
        if target.reads is None:
            outputs[name] = output(fused, target, spec.tasks.get(name), name=name)
    return keras.Model(_flat(inputs), _one_or_all({name: outputs[name] for name in schema.targets}), name="body")


def _fused(schema, spec, tokens):
    """What the spec's fusion makes of the tokens, brought to its width."""
    tokens = {name: _of_width(part, spec.width, name) for name, part in tokens.items()}
    return fuse(tokens, spec.fusion, width=spec.width, features=schema.inputs)


def _own_fusion(schema, spec, tokens, target):
    """What a fusion for one target makes of these tokens, in a sub-model: its layers have the names of the others."""
    inputs = {name: Tokens(*map(input_like, part)) for name, part in tokens.items()}
    try:
        fused = _fused(schema, spec, inputs)
    except InputError as error:
        raise InputError(f"{target!r}, which reads {', '.join(tokens)}: {error}") from error
    return keras.Model(_flat(inputs), fused, name=f"{target}_fusion")(_flat(tokens))


def _of_width(tokens, width, name):
    """The tokens, through a dense layer if their width is another."""
    if tokens.values.shape[-1] == width:
        return tokens
    project = keras.layers.Dense(width, name=f"{name}_to_width")
    return hide_padding(Tokens(project(tokens.values), tokens.mask))
