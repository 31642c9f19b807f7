"""What fusions ask of their options and of the number of modalities."""

from mmkeras.errors import InputError


def check_whole(fusion, least, **options):
    """Raise an `InputError` unless every option is a whole number from `least`."""
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(
                f"fusion {fusion!r}: expected {name} to be a whole number from {least}, received {value!r}"
            )


def check_two(fusion, tokens):
    """Raise an `InputError` unless there are at least two modalities."""
    if len(tokens) < 2:
        raise InputError(f"fusion {fusion!r}: expected at least two modalities, received {', '.join(tokens)}")
