"""Tokens, the output of every tower and the input of every fusion, and functions of them."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

import keras
from keras import ops

from mmkeras.checks import check_choice, check_switch, check_whole

Tensor: TypeAlias = Any  # a keras.KerasTensor, or a tensor or array of the backend


class Tokens(NamedTuple):
    """The output of a tower.

    Attributes:
        values: `(batch, tokens, width)`, float; zeros where the mask is False.
        mask: `(batch, tokens)`, bool, True where there is a token; None: everywhere.
        grids: the feature maps of a tower for pictures, `(batch, rows, columns, channels)`, the finest first: for tasks
            that need places.
    """

    values: Tensor
    mask: Tensor | None = None
    grids: tuple[Tensor, ...] = ()

    @property
    def pair(self) -> list[Tensor]:
        """`[values]`, or `[values, mask]`."""
        return [self.values] if self.mask is None else [self.values, self.mask]

    @property
    def tensors(self) -> list[Tensor]:
        """All that there is in one list: values, mask, grids."""
        return [*self.pair, *self.grids]

    @classmethod
    def of(cls, tensors: Tensor) -> "Tokens":
        """The tokens of a list as `tensors`, or of values alone: a mask has two axes, a grid four."""
        values, *others = tensors if isinstance(tensors, list | tuple) else [tensors]
        masks = [one for one in others if len(one.shape) == 2]
        return cls(values, masks[0] if masks else None, tuple(one for one in others if len(one.shape) == 4))

    def map(self, change: Callable[[Tensor], Tensor]) -> "Tokens":
        """The tokens with each of their tensors changed."""
        return Tokens.of([change(one) for one in self.tensors])


class Fused(NamedTuple):
    """The output of a fusion, for the tasks to read.

    Attributes:
        vector: `(batch, width)`, float; None of a fusion of decisions.
        tokens: `Tokens` `(batch, tokens, width)`, before they were pooled to the vector.
        grids: dict of input -> tuple of feature maps `(batch, rows, columns, channels)`, the finest first, of towers
            of pictures; None unless the task reads grids.
        decisions: of a fusion of decisions ("late") dict of modality -> vector `(batch, width)`, each of which a task
            reads by itself; else None.
    """

    vector: Tensor | None
    tokens: Tokens | None = None
    grids: Mapping[str, tuple[Tensor, ...]] | None = None
    decisions: Mapping[str, Tensor] | None = None


def hide_padding(tokens: Tokens) -> Tokens:
    """The tokens with zeros where the mask is False, so that neither junk nor NaN there reaches a fusion."""
    values, mask = tokens.values, tokens.mask
    if mask is None:
        return tokens
    return tokens._replace(values=ops.where(mask[..., None], values, ops.zeros_like(values)))


def masked_mean(tokens: Tokens) -> Tensor:
    """Mean of the tokens that are there: `(batch, width)`; zeros where none is. Summed in float32."""
    values, mask = tokens.values, tokens.mask
    if values.shape[1] == 1 and mask is None:
        return values[:, 0]
    if mask is None:
        return ops.mean(values, axis=1)
    there = ops.cast(mask, "float32")
    total = ops.sum(ops.cast(values, "float32") * there[..., None], axis=1)
    return ops.cast(total / ops.maximum(ops.sum(there, axis=1, keepdims=True), 1.0), values.dtype)


def one_token(vector: Tensor) -> Tokens:
    """A vector `(batch, width)` as one token `(batch, 1, width)`."""
    return Tokens(ops.expand_dims(vector, 1))


def joined(parts: Iterable[Tokens]) -> Tokens:
    """The tokens of several `Tokens` of one width as one sequence; without a mask if none of them has one."""
    parts = list(parts)
    values = ops.concatenate([part.values for part in parts], axis=1)
    if all(part.mask is None for part in parts):
        return Tokens(values)
    masks = [ops.ones_like(p.values[..., 0], dtype="bool") if p.mask is None else p.mask for p in parts]
    return Tokens(values, ops.concatenate(masks, axis=1))


def input_like(tensor: Tensor | None, name: str | None = None) -> Tensor | None:
    """An input for values like these; None for None."""
    return None if tensor is None else keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)


def check_counts(name: str, **counts: Any) -> None:
    """Raise an `InputError` unless these options of the input `name` are whole numbers above 0."""
    for option, count in counts.items():
        check_whole(count, option, f"{name!r}: ")


def check_switches(name: str, **switches: Any) -> None:
    """Raise an `InputError` unless these options of the input `name` are True or False."""
    for option, value in switches.items():
        check_switch(value, option, f"{name!r}: ")


def check_tokens(tokens: Any, name: str) -> None:
    """Raise an `InputError` unless a tower's option `tokens` is "one" or "all"."""
    check_choice(tokens, "tokens", ("one", "all"), f"{name!r}: ")
