"""The parts of a model, as plain data."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

from mmkeras.checks import check_whole, checked_keywords
from mmkeras.errors import InputError, shown

Part: TypeAlias = str | Mapping[str, Any] | Callable[..., Any]  # a name; "kind" and options; the part itself


@checked_keywords
@dataclass(frozen=True)
class ModelSpec:
    """The parts of a model. Each part is a name, or a dict of "kind" (the name) and options.

    Args:
        towers: dict of input name -> tower; inputs left out get their modality's default. A tower may have a "width"
            of its own; a dense layer in "body" then brings its tokens to that of the others.
        fusion: a name of `mmkeras.fusion.FUSIONS`. The default, "concat", is the simplest and among the cheapest.
            Its mean validation score on three data sets with one seed is within a point of the best: .952, against .956
            of "cross_attention" at 1.8 to 2.8 times the CPU-seconds (benchmarks/RESULTS.md).
        width: width of tokens and of the fused vector.
        tasks: dict of target name -> task; targets left out get their default.
        modality_dropout: share of the rows, 0 to below 1, that get the missing token in training although the modality
            is there: a number for every optional input, or a dict of optional input -> number.
        align: a name of `mmkeras.alignment.ALIGNMENTS`, or a dict of "kind", "dim" (width), "weight", "through" and
            options: a loss next to those of the tasks brings the inputs' vectors into a shared space.
            `{"kind": "contrastive", "dim": 64}`, for example.

    Raises:
        InputError: a misspelt option, a width that is no whole number above 0, towers or tasks that are no dict.

    >>> spec = ModelSpec(fusion={"kind": "concat", "dropout": 0.2}, width=64)
    >>> ModelSpec.from_json(spec.to_json()) == spec
    True
    """

    towers: Mapping[str, Part] = field(default_factory=dict)
    fusion: Part = "concat"
    width: int = 128
    tasks: Mapping[str, Any] = field(default_factory=dict)
    modality_dropout: float | Mapping[str, float] = 0.0
    align: Part | None = None

    def __post_init__(self) -> None:
        check_whole(self.width, "width", "ModelSpec: ")
        for role in ("towers", "tasks"):
            parts = getattr(self, role)
            if not isinstance(parts, Mapping):
                raise InputError(f"ModelSpec: expected {role} to be a dict of name -> part, received {shown(parts)}")
            object.__setattr__(self, role, dict(parts))

    def to_json(self) -> str:
        """The spec as a JSON string. Raises `InputError` if a part is a function: register it, and give its name."""

        def refuse(part: Any) -> Any:
            raise InputError(
                f"ModelSpec.to_json: expected parts by name, received {shown(part)}; register it, as "
                '@mk.towers.register("mine"), and give its name'
            )

        content = {option.name: getattr(self, option.name) for option in fields(self)}
        return json.dumps(content, indent=1, ensure_ascii=False, default=refuse)

    @classmethod
    def from_json(cls, text: str) -> "ModelSpec":
        """The spec from `to_json`'s string. Raises `InputError` for anything else."""
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"ModelSpec: expected JSON, received {shown(text)} ({error})") from error
        return cls.from_options(content)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "ModelSpec":
        """The spec from a dict; a misspelt key is refused."""
        if not isinstance(options, Mapping):
            raise InputError(f"ModelSpec: expected a dict of options, received {shown(options)}")
        return cls(**options)
