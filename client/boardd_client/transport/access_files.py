"""The files that a connection over TCP needs: token, authority, certificate.

They are read for each connection, so that what was renewed is used by the next, and an
error names the variable that the user is to set.
"""

from __future__ import annotations

from typing import Final, TypedDict

from boardd_protos.address import TcpAddress
from boardd_protos.tls import tls_advice

from boardd_client.environment import Access
from boardd_client.transport.connection import ConnectionFailedError

_MAX_FILE_BYTES: Final = 1 << 20
#: Parts of what gRPC says where there is nobody, or no such host.
_NOBODY_ANSWERS: Final = ("failed to connect", "errors resolving", "resolution failed")


class TlsFiles(TypedDict):
    """Contents of PEM files, as ``grpc.ssl_channel_credentials`` takes them."""

    root_certificates: bytes
    private_key: bytes | None
    certificate_chain: bytes | None


def read_token(access: Access) -> str:
    """Returns the token, without white space around it; empty: there is none.

    ``BOARDD_TOKEN`` counts before ``BOARDD_TOKEN_FILE``. Raises ``ConnectionFailedError``, which
    does not show it, if a file cannot be read or what it holds is no token.
    """
    if not access.has_token:
        return ""
    name, token = "BOARDD_TOKEN", access.token.encode(errors="replace")
    if not token:
        name = f"BOARDD_TOKEN_FILE={access.token_file!r}"
        token = _read("BOARDD_TOKEN_FILE", access.token_file).strip()
    if not token or not all(0x21 <= byte <= 0x7E for byte in token):
        raise ConnectionFailedError(
            "INVALID_ARGUMENT", f"{name}: a token is printable ASCII without spaces"
        )
    return token.decode()


def tls_files(access: Access) -> TlsFiles:
    """Reads the files of ``access``, which has an authority.

    Raises ``ConnectionFailedError`` if one cannot be read or is of another kind.
    """
    certificate = key = None
    if access.tls_client_cert:
        certificate = _pem("BOARDD_TLS_CLIENT_CERT", access.tls_client_cert, b"CERTIFICATE")
        key = _pem("BOARDD_TLS_CLIENT_KEY", access.tls_client_key, b"PRIVATE KEY")
    return TlsFiles(
        root_certificates=_pem("BOARDD_TLS_CA", access.tls_ca, b"CERTIFICATE"),
        private_key=key,
        certificate_chain=certificate,
    )


def explained(details: str, access: Access, address: TcpAddress) -> str:
    """``details`` of a call to ``address`` that failed, with what to do about it, if known."""
    advice = tls_advice(
        details,
        ca="BOARDD_TLS_CA",
        certificate="BOARDD_TLS_CLIENT_CERT",
        is_tls=bool(access.tls_ca),
    )
    if not advice and any(part in details for part in _NOBODY_ANSWERS):
        # gRPC names every attempt here; what comes last says it all.
        advice, details = (
            f"no daemon answers at {address}; start boardd --listen there, or set BOARDD_ADDRESS "
            "to where one is",
            details.rpartition(": ")[2].rstrip("]"),
        )
    return f"{advice} ({details})" if advice else details


def _pem(variable: str, path: str, kind: bytes) -> bytes:
    content = _read(variable, path)
    if kind not in content:
        raise ConnectionFailedError(
            "INVALID_ARGUMENT", f"{variable}={path!r}: no PEM {kind.decode().lower()} in it"
        )
    return content


def _read(variable: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise ConnectionFailedError(
            "INVALID_ARGUMENT", f"{variable}={path!r}: {error.strerror}"
        ) from None
