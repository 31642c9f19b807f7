"""The parts of a model, as plain data."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

from mmkeras.checks import check_share, check_whole, checked_keywords
from mmkeras.disk import parse_json
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
            for name, part in parts.items():
                _check_part(part, f"{role}: {name!r}")
        _check_part(self.fusion, "fusion")
        if self.align is not None:
            _check_part(self.align, "align")
        dropout = self.modality_dropout
        for name, share in dropout.items() if isinstance(dropout, Mapping) else [("", dropout)]:
            check_share(share, "modality_dropout", f"ModelSpec: {name!r}: " if name else "ModelSpec: ")

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
        return cls.from_options(parse_json(text, "ModelSpec: "))

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "ModelSpec":
        """The spec from a dict; a misspelt key is refused."""
        if not isinstance(options, Mapping):
            raise InputError(f"ModelSpec: expected a dict of options, received {shown(options)}")
        for option in options:
            if not isinstance(option, str):
                raise InputError(f"ModelSpec: expected names of options, received {shown(option)}")
        return cls(**options)


def _check_part(part: Any, what: str) -> None:
    """Refuse what is neither a name, nor a dict with one, nor a part itself: its options are checked with the part."""
    if not isinstance(part, str | Mapping) and not callable(part) and not hasattr(part, "output"):
        raise InputError(
            f'ModelSpec: expected {what} to be a name, a dict of "kind" and options, or a function, received '
            f"{shown(part)}"
        )
    options = part if isinstance(part, Mapping) else {}
    kind = options.get("kind", "")
    if not isinstance(kind, str) and not callable(kind) and not hasattr(kind, "output"):
        raise InputError(f"ModelSpec: expected the kind of {what} to be a name, received {shown(kind)}")
    for option, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"ModelSpec: expected {option!r} of {what} to be a finite number, received {value}")
