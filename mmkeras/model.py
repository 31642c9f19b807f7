"""A schema and a ModelSpec become an ordinary functional keras.Model."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

import keras

from mmkeras.errors import InputError, unknown
from mmkeras.fusion import fuse
from mmkeras.heads import head
from mmkeras.layers import Tokens
from mmkeras.schema import Schema
from mmkeras.towers import tower


@dataclass(frozen=True)
class ModelSpec:
    """Which parts a model is made of. Each part is a name, or a dict of "kind" (the name) and options.

    Args:
        towers: dict of input name -> tower; inputs left out get their modality's default.
        fusion: "concat" or "attention", or one that was registered.
        width: width of tokens and of the fused vector.
        heads: dict of target name -> head; targets left out get their default.

    >>> spec = ModelSpec(fusion={"kind": "concat", "dropout": 0.2}, width=64)
    >>> ModelSpec.from_json(spec.to_json()) == spec
    True
    """

    towers: dict[str, str | dict] = field(default_factory=dict)
    fusion: str | dict = "concat"
    width: int = 128
    heads: dict[str, str | dict] = field(default_factory=dict)

    def __post_init__(self):
        if isinstance(self.width, bool) or not isinstance(self.width, int) or self.width < 1:
            raise InputError(f"ModelSpec: expected width to be a whole number above 0, received {self.width!r}")
        for role in ("towers", "heads"):
            parts = getattr(self, role)
            if not isinstance(parts, Mapping):
                raise InputError(f"ModelSpec: expected {role} to be a dict of name -> part, received {parts!r}")
            object.__setattr__(self, role, dict(parts))

    def to_json(self):
        """The spec as a JSON string."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text):
        """The spec from `to_json`'s string. Raises `InputError` for anything else."""
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"ModelSpec: expected JSON, received {text[:60]!r} ({error})") from error
        return cls.from_options(content)

    @classmethod
    def from_options(cls, options):
        """The spec from a dict; a misspelt key is refused."""
        if not isinstance(options, Mapping):
            raise InputError(f"ModelSpec: expected a dict of options, received {options!r}")
        known = [option.name for option in fields(cls)]
        for name in options:
            if name not in known:
                raise unknown("option of ModelSpec:", name, known)
        return cls(**options)


def build(schema, spec=None, **options):
    """Wire towers, fusion and heads into a plain functional model.

    Args:
        schema: fitted `Schema`.
        spec: `ModelSpec`; or give its options by name: towers, fusion, width, heads.

    Returns:
        `keras.Model` of the inputs in schema order. One target: one output `(batch, ...)`; several: a dict by target.
        Its sub-models are `<input>_tower` for each input and `body` (the tokens of all modalities -> outputs):
        `model.get_layer("body")`.

    Raises:
        InputError: a schema that is not fitted, an unknown part or option, an input that a tower cannot read.
    """
    if not isinstance(schema, Schema):
        raise InputError(f"build: expected a Schema, received {type(schema).__name__}")
    schema.require_fitted("build")
    if spec is None:
        spec = ModelSpec.from_options(options)
    elif not isinstance(spec, ModelSpec) or options:
        raise InputError(f"build: expected one ModelSpec or options by name, received {spec!r} and {options}")
    for role, known in (("towers", schema.inputs), ("heads", schema.targets)):
        for name in getattr(spec, role):
            if name not in known:
                raise unknown("input" if role == "towers" else "target", name, known, where=f"ModelSpec.{role}: ")
    towers = {
        name: tower(feature, spec.towers.get(name), width=spec.width, name=name)
        for name, feature in schema.inputs.items()
    }
    body = _body(schema, spec, towers)
    inputs = [keras.Input(feature.shape, dtype=feature.dtype, name=name) for name, feature in schema.inputs.items()]
    tokens = [part(x) for part, x in zip(towers.values(), inputs, strict=True)]
    outputs = body(_flat(tokens))
    if len(schema.targets) == 1:
        return keras.Model(inputs, _named(outputs, next(iter(schema.targets))), name="mmkeras")
    return keras.Model(inputs, {name: _named(outputs[name], name) for name in schema.targets}, name="mmkeras")


def _named(output, name):
    """The output under its target's name, which it would otherwise lose to "body"."""
    return keras.layers.Identity(name=name, dtype=output.dtype)(output)


def _flat(tokens):
    """Towers give values, or [values, mask]: all of them in one list."""
    return [tensor for part in tokens for tensor in (part if isinstance(part, list) else [part])]


def _body(schema, spec, towers):
    """The sub-model from the tokens of all towers to the outputs."""
    inputs, tokens = [], {}
    for name, part in towers.items():
        outputs = part.outputs
        values = keras.Input(outputs[0].shape[1:], dtype=outputs[0].dtype, name=f"{name}_tokens")
        mask = keras.Input(outputs[1].shape[1:], dtype="bool", name=f"{name}_tokens_mask") if outputs[1:] else None
        inputs += [values] if mask is None else [values, mask]
        tokens[name] = Tokens(values, mask)
    fused = fuse(tokens, spec.fusion, width=spec.width)
    outputs = {name: head(fused, target, spec.heads.get(name), name=name) for name, target in schema.targets.items()}
    return keras.Model(inputs, outputs if len(outputs) > 1 else next(iter(outputs.values())), name="body")
