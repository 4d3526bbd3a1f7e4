"""Why no answer came, in a few words."""

from __future__ import annotations

import socket
import ssl

import pytest
from urllib3 import HTTPSConnectionPool
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError, SSLError

from controller.kube.unanswered import innermost, wrong_address

POOL = HTTPSConnectionPool("k8s.example.org", 6443)
TRIED = HTTPSConnection("k8s.example.org", 6443)
REFUSED = NewConnectionError(TRIED, "Failed to establish a new connection: Connection refused")
UNKNOWN = NameResolutionError("k8s.example.org", TRIED, socket.gaierror("Name or service not known"))
UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed:\nunable to get local issuer certificate")
CUT = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")


def wrapped(reason: Exception) -> MaxRetryError:
    return MaxRetryError(POOL, "/version", reason)


@pytest.mark.parametrize(
    ("error", "said", "remedy"),
    [
        (wrapped(REFUSED), "Failed to establish a new connection: Connection refused", None),
        (ConnectionResetError(104, "Connection reset by peer"), "[Errno 104] Connection reset by peer", None),
        (wrapped(SSLError(CUT)), "EOF occurred in violation of protocol", None),
        (wrapped(UNKNOWN), "Failed to resolve 'k8s.example.org'", "the server's name"),
        (wrapped(SSLError(UNTRUSTED)), "unable to get local issuer certificate", "certificate-authority"),
    ],
    ids=["refused", "reset", "cut", "unknown name", "untrusted"],
)
def test_only_a_name_or_a_certificate_that_is_wrong_has_a_remedy_of_its_own(
    error: Exception, said: str, remedy: str | None
) -> None:
    assert said in innermost(error)
    assert "\n" not in innermost(error)
    found = wrong_address(error)
    assert (remedy in found) if remedy and found else (found is remedy)
