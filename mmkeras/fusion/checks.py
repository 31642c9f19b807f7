"""Checks of the number of modalities for fusions."""

from collections.abc import Collection

from mmkeras.errors import InputError


def check_two(fusion: str, tokens: Collection[str]) -> None:
    """Raise an `InputError` unless there are at least two modalities."""
    if len(tokens) < 2:
        raise InputError(f"fusion {fusion!r}: expected at least two modalities, received {', '.join(tokens)}")
