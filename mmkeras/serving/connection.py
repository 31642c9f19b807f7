"""How a client connects: headers, certificates, the environment's settings, and how much it accepts."""

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmkeras.checks import check_switch, check_whole
from mmkeras.errors import InputError, shown

MAX_BYTES = 64 * 2**20  # of an answer
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
GRPC_NAME = re.compile(r"(?!grpc-)[0-9a-z_.-]+(?<!-bin)")
VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")
OURS = re.compile(r"accept-encoding|connection|content-(encoding|length|type)|te|trailer|transfer-encoding|upgrade")


@dataclass(frozen=True)
class Connection:
    """The options of a connection.

    Attributes:
        headers: dict of name -> value, sent with every request: not shown in messages, as they may hold a token.
        ca: path of a PEM file, the authorities that may have signed the server's certificate; None: the usual ones.
        certificate: paths of two PEM files, the client's certificate and its key.
        trust_env: whether the environment's proxies and, over REST, .netrc are used.
        max_bytes: of one answer, decompressed.
    """

    headers: dict[str, str]
    ca: str | None
    certificate: tuple[str, str] | None
    trust_env: bool
    max_bytes: int


def checked(headers: Any, ca: Any, certificate: Any, trust_env: Any, max_bytes: Any, scheme: str) -> Connection:
    """The options of `Client`, checked. The files must be readable now.

    Args:
        headers, ca, certificate, trust_env, max_bytes: as `Client` takes them.
        scheme: "http", "https", "grpc" or "grpcs".

    Raises:
        InputError: an option of the wrong kind, a file that holds no certificate, certificates without TLS.
    """
    if (ca is not None or certificate is not None) and scheme in ("http", "grpc"):
        raise InputError(f'Client: ca and certificate are of encrypted connections: expected the target "{scheme}s://"')
    ca = None if ca is None else _path(ca, "ca to be the path of a PEM file")
    if certificate is not None:
        expected = "certificate to be the paths of two PEM files, certificate and key"
        if not isinstance(certificate, tuple | list) or len(certificate) != 2:
            raise InputError(f"Client: expected {expected}, received {shown(certificate)}")
        certificate = (_path(certificate[0], expected), _path(certificate[1], expected))
    _check_files(ca, certificate)
    return Connection(
        _headers(headers, scheme.startswith("grpc")),
        ca,
        certificate,
        check_switch(trust_env, "trust_env", "Client: "),
        check_whole(max_bytes, "max_bytes", "Client: "),
    )


def _path(value: Any, expected: str) -> str:
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise InputError(f"Client: expected {expected}, received {shown(value)}")
    return os.fspath(value)


def _check_files(ca: str | None, certificate: tuple[str, str] | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        path = ca
        if ca is not None:
            context.load_verify_locations(ca)
        if certificate is not None:
            path = " and ".join(certificate)
            context.load_cert_chain(*certificate, password="")  # else OpenSSL asks for one at the terminal
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; ValueError: a path with a NUL
        expected = "" if path == ca else ", or the key has a passphrase or is of another certificate"
        raise InputError(f"Client: cannot read PEM from {path!r}{expected}: {error}") from error


def _headers(headers: Any, grpc: bool) -> dict[str, str]:
    """The headers; gRPC has their names in small letters."""
    if headers is None:
        return {}
    if not isinstance(headers, Mapping):
        raise InputError(f"Client: expected headers to be a dict of name -> value, received {type(headers).__name__}")
    found = {}
    for name, value in headers.items():
        known = isinstance(name, str) and (GRPC_NAME.fullmatch(name.lower()) if grpc else NAME.fullmatch(name))
        if not known:
            raise InputError(f"Client: headers: {shown(name)} is no name of a header{' in gRPC' * grpc}")
        if OURS.fullmatch(name.lower()):  # they say how a request is sent
            raise InputError(f"Client: headers: {name!r} is set by the client itself")
        if not isinstance(value, str) or not VALUE.fullmatch(value):
            raise InputError(f"Client: headers: expected the value of {name!r} to be one line of printable ASCII")
        found[name.lower() if grpc else name] = value
    return found
