"""What an S3 server's refusal or silence means to a person. No text of the server is repeated, only its error code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from botocore import exceptions as boto
from botocore.exceptions import ClientError
from urllib3.exceptions import HTTPError

from job.contract.errors import ConfigurationError, SweepError, TransientError

__all__ = ["STREAM_ERRORS", "ClientError", "Refusal", "explained_s3", "http_date", "refusal_of"]

STREAM_ERRORS = (boto.ResponseStreamingError, boto.ReadTimeoutError, boto.IncompleteReadError, HTTPError)
"""The connection ended while a body was read; botocore does not ask again for these."""

_SKEW_S = 15 * 60  # S3 refuses a signature this far from its own clock
_CREDENTIALS = {
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "XAdminUserNotFound",  # versitygw's InvalidAccessKeyId
}
_CREDENTIAL_FAILURES = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.NoAuthTokenError,
    boto.TokenRetrievalError,
    boto.ProfileNotFound,
    boto.SSOError,
)
_NO_ANSWER = (boto.ConnectionError, boto.HTTPClientError, boto.CredentialRetrievalError, *STREAM_ERRORS)


class Refusal(NamedTuple):
    """The server's answer to a refused request."""

    code: str
    status: int
    request_id: str
    skew_s: float | None
    """Its clock minus ours; None when it did not say the time."""


@contextmanager
def explained_s3(action: str, *, place: str, endpoint: str) -> Iterator[None]:
    """A block in which an error of boto3 becomes an error that says what to do."""
    try:
        yield
    except ClientError as err:
        raise _refused(refusal_of(err), action=action, place=place, endpoint=endpoint) from err
    except (boto.BotoCoreError, HTTPError) as err:
        raise _unanswered(err, action=action, place=place, endpoint=endpoint) from err


def refusal_of(err: Any) -> Refusal:
    """What a ClientError says, as far as it can be shown."""
    details = err.response.get("ResponseMetadata", {})
    code = re.sub(r"[^A-Za-z0-9._-]", "", str(err.response.get("Error", {}).get("Code", "")))[:64] or "no code"
    request_id = re.sub(r"[^A-Za-z0-9._-]", "", str(details.get("RequestId", "")))[:64]
    skew_s = _skew_s(details.get("HTTPHeaders", {}).get("date"))
    return Refusal(code=code, status=int(details.get("HTTPStatusCode", 0)), request_id=request_id, skew_s=skew_s)


def http_date(text: object) -> datetime | None:
    """The time of a Date header; None where it is missing or none."""
    try:
        found = parsedate_to_datetime(str(text))
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _skew_s(date: object) -> float | None:
    there = http_date(date)
    return None if there is None else (there - datetime.now(UTC)).total_seconds()


def _refused(refusal: Refusal, *, action: str, place: str, endpoint: str) -> SweepError:
    what = f"{action} {place}: {endpoint} answered {refusal.code} ({refusal.status})"
    if refusal.request_id:
        what += f", request {refusal.request_id}"
    far_off = refusal.skew_s is not None and abs(refusal.skew_s) >= _SKEW_S
    if refusal.code == "RequestTimeTooSkewed" or (refusal.status == 403 and far_off):
        by = "an unknown number of" if refusal.skew_s is None else f"{abs(refusal.skew_s):.0f}"
        return TransientError(f"{what}: the clocks differ by {by} s. Set this machine's clock (NTP), then run it again")
    if refusal.code in _CREDENTIALS:
        return ConfigurationError(
            f"{what}: it does not take these credentials. Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
            "AWS_SESSION_TOKEN, AWS_REGION or the profile, and that the endpoint is the one they belong to"
        )
    if refusal.code == "NoSuchBucket":
        return ConfigurationError(f"{what}: there is no such bucket. Make it, or correct the store's URI")
    if refusal.status == 501:
        return ConfigurationError(f"{what}: this server cannot do that. Choose a store with conditional writes")
    if refusal.status in {403, 405}:
        return ConfigurationError(
            f"{what}: not allowed. The credentials need GetObject, PutObject, DeleteObject and ListBucket on the bucket"
        )
    if refusal.status in {301, 307, 308}:
        return ConfigurationError(f"{what}: the bucket is in another region. Set AWS_REGION to it")
    if refusal.status >= 500 or refusal.status in {408, 409, 412, 416, 429}:
        return TransientError(f"{what}, also when asked again. Run it again later")
    return ConfigurationError(f"{what}. Check the store's URI, AWS_REGION and AWS_ENDPOINT_URL_S3")


def _unanswered(err: Exception, *, action: str, place: str, endpoint: str) -> SweepError:
    what = f"{action} {place}"
    if isinstance(err, _CREDENTIAL_FAILURES):
        return ConfigurationError(
            f"{what}: no usable credentials ({type(err).__name__}). "
            "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    if isinstance(err, boto.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(err):
        return ConfigurationError(
            f"{what}: {endpoint} shows a certificate that is not trusted here. Set AWS_CA_BUNDLE to its CA"
        )
    if isinstance(err, _NO_ANSWER):
        return TransientError(
            f"{what}: no whole answer from {endpoint} ({type(err).__name__}). "
            "Check AWS_ENDPOINT_URL_S3 and the network, or run it again later"
        )
    return ConfigurationError(
        f"{what}: the S3 client cannot work like this ({type(err).__name__}). Check the AWS_ variables and files"
    )
