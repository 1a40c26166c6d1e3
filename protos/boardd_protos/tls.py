"""What to do about a TLS connection that cannot be made, from what gRPC says about it."""

from __future__ import annotations

from typing import Final

#: From a part of gRPC's text, the first that fits, to the advice; see ``tls_advice``.
_ADVICE: Final = (
    (
        "Hostname Verification",
        "the daemon's certificate names another host; use a name that is in it, or have one made "
        "whose subjectAltName has this one",
    ),
    ("certificate has expired", "the daemon's certificate has expired; renew it there"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the daemon's certificate is not signed by the authority in {ca}, or not valid",
    ),
    (
        "Failed to create security handshaker",
        "{ca} holds no certificate that can be read, or {certificate} and its key do not belong "
        "together",
    ),
    ("WRONG_VERSION_NUMBER", "the daemon serves no TLS; start it with --tls-cert, or unset {ca}"),
)
_CLOSED: Final = "Socket closed"


def tls_advice(details: str, *, ca: str, certificate: str, is_tls: bool) -> str:
    """Returns what may be wrong with TLS if a call failed with ``details``; empty: nothing.

    ``ca`` and ``certificate`` are the names of the settings for the authority of the daemon and
    for the certificate that is shown to it. ``is_tls``: whether the call went over TLS.
    """
    for part, advice in _ADVICE:
        if part in details:
            return advice.format(ca=ca, certificate=certificate)
    if _CLOSED not in details:
        return ""
    if is_tls:
        return (
            "the daemon hung up; if it asks for a client's certificate (--tls-client-ca), set "
            f"{certificate} to one that its authority signed and that is valid"
        )
    return f"the daemon hung up; if it serves TLS (--tls-cert), set {ca}"
