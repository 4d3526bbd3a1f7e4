"""Why a request came to no answer: what urllib3 has wrapped, several times over, in a few words. Pure."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator

from urllib3.exceptions import NameResolutionError

__all__ = ["innermost", "wrong_address"]

_POOL = re.compile(r"^HTTPS?Connection(Pool)?\([^)]*\): ")  # urllib3's; the address is said in our own words


def innermost(err: BaseException) -> str:
    """What the error says that all others stand for, in one line."""
    said = str(list(_reasons(err))[-1]).strip().replace("\n", " ")
    return _POOL.sub("", said)


def wrong_address(err: BaseException) -> str | None:
    """What to do about the server's name or certificate; None for trouble of any other kind."""
    for reason in _reasons(err):
        if isinstance(reason, NameResolutionError):
            return "mend the server's name in the kubeconfig, or this machine's network"
        if isinstance(reason, ssl.SSLCertVerificationError):
            return "the certificate-authority in the kubeconfig is not that of this server"
        if isinstance(reason, ssl.SSLError) and not isinstance(reason, ssl.SSLEOFError):
            return "mend the server's address and certificates in the kubeconfig"
    return None


def _reasons(err: BaseException) -> Iterator[BaseException]:
    """The error, and from there on what each one carries."""
    seen: object = err
    while isinstance(seen, BaseException):
        yield seen
        below = getattr(seen, "reason", None)
        seen = below if isinstance(below, BaseException) else next(iter(seen.args), None)
