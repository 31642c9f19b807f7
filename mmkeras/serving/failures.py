"""Failures between a client and its server, in plain words."""

import importlib
from types import ModuleType

from mmkeras.errors import InputError

# TensorFlow Serving's REST API maps its codes to HTTP's; several become 400, 409 and 500.
CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
WORDS = {
    "NOT_FOUND": "no such model or version is loaded",
    "INVALID_ARGUMENT": "the server refuses the request",
    "FAILED_PRECONDITION": "the server refuses the request",
    "UNAUTHENTICATED": "the server asks for authentication",
    "PERMISSION_DENIED": "the server refuses this client",
    "RESOURCE_EXHAUSTED": "the server has too many requests",
    "UNAVAILABLE": "the server cannot answer now",
    "DEADLINE_EXCEEDED": "the server reached its own time limit",
    "UNIMPLEMENTED": "the server does not know this kind of request",
}


class ServingError(RuntimeError):
    """The server cannot be reached, does not know the model, or could not answer.

    Attributes:
        code: str, gRPC's name of the kind of failure, for REST too: "UNAVAILABLE" (no response, or not now),
            "DEADLINE_EXCEEDED" (no response in time), "NOT_FOUND" (no such model or version), "INVALID_ARGUMENT" (the
            server refuses the request), "RESOURCE_EXHAUSTED" (too many requests), "INTERNAL" (all else) and others.
        attempts: int, how often the request was sent.
        transient: bool, whether the same request may succeed later.
    """

    def __init__(self, message: str, code: str, transient: bool = False):
        super().__init__(message)
        self.code, self.transient, self.attempts = code, transient, 1

    def __str__(self) -> str:
        return super().__str__() + (f" ({self.attempts} attempts)" if self.attempts > 1 else "")


def answered(where: str, code: str, said: object, transient: bool) -> ServingError:
    """The error for a failure that the server reports: `said` is the server's message."""
    words = WORDS.get(code, f"the server failed with {code}")
    return ServingError(f"{where}: {words}: {printable(said)}", code, transient)


def malformed(where: str, what: str) -> ServingError:
    """The error for an answer that is not what was asked for."""
    return ServingError(f"{where}: the answer is malformed: {what}", "INTERNAL")


def printable(said: object, longest: int = 500) -> str:
    """A server's text in one line, cut, without characters that move a terminal's cursor or change its colours."""
    text = " ".join(str(said)[: 4 * longest].split())[:longest]
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def too_late(where: str, seconds: float) -> ServingError:
    """The error for a response that did not come in time."""
    return ServingError(f"{where}: no answer within {seconds:.3g} s (timeout)", "DEADLINE_EXCEEDED")


def too_long(where: str, most: int) -> ServingError:
    """The error for an answer of too many bytes."""
    return ServingError(
        f"{where}: an answer of more than {most:,} bytes: take a smaller batch_size, or allow more with max_bytes",
        "RESOURCE_EXHAUSTED",
    )


def package(module: str, name: str, purpose: str) -> ModuleType:
    """An imported module. Raises `InputError` that says what to install where it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f'{purpose} needs the package {name}: pip install "mmkeras[serving]" (received {error})'
        ) from error
