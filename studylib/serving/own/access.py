"""Who may ask: a bearer token and TLS, where they are wished."""

import hmac
import ssl
from collections.abc import Callable
from pathlib import Path

from studylib.errors import InputError

_SHORTEST = 16


def token_check(path: Path | None) -> Callable[[str], bool] | None:
    """Whether an ``Authorization`` header holds the token in a file; None without one. Raises `InputError` for one that is too short."""
    if path is None:
        return None
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the token file {path} cannot be read: {error}") from None
    if len(token) < _SHORTEST or not token.isascii():
        raise InputError(f"the token in {path} has {len(token)} characters; give at least {_SHORTEST}, all of them ASCII")
    expected = f"Bearer {token}".encode()
    return lambda told: hmac.compare_digest(told.encode("utf-8", "replace"), expected)


def require_pair(certificate: Path | None, key: Path | None) -> None:
    """Raise `InputError` unless none of certificate and key is given, or both are and belong together."""
    if (certificate is None) != (key is None):
        raise InputError("TLS needs both a certificate and its key")
    if certificate is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:  # the first says what is missing, the second what does not fit
        words = f"the certificate {certificate} and the key {key} cannot be used: {error}"
        raise InputError(f"{words}. Give both as PEM, without a password") from None
