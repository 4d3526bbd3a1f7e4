"""A regression is told to whoever listens at a URL: one POST with JSON, tried a few times within a bounded time.

The URL is the spec's `regression.webhook`, or the variable REGRESSION_WEBHOOK_URL, which wins: a URL that is
itself a secret, as those of chat services are, belongs into a Secret and not into a spec. Only its scheme and host are
ever told or logged. Nothing here changes a verdict or an exit code: what fails is a warning.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

import httpx2

from controller.regression.document import Regression
from controller.regression.webhook_url import public_place, webhook_refusal

__all__ = ["Told", "message_of", "tell_webhook"]

_TRIES = 3
_TIMEOUT_S = 10.0
"""Of each try: connecting, sending, and every wait for an answer."""
_PAUSES_S = (1.0, 4.0)


class Told(NamedTuple):
    """How it went."""

    delivered: bool
    words: str
    """For people: where, and what went wrong; never the whole URL."""


def message_of(found: Regression, *, sweep: str, report: str) -> Mapping[str, object]:
    """The body: `text` is what chat services show, the rest is for programs."""
    text = f"{sweep}/{found.run}: {found.heading}"
    changed = [f"{cause.what} {cause.name}" for cause in found.causes]
    return {
        "text": "\n".join([text, *found.sentences, *([f"Changed: {', '.join(changed)}"] if changed else []), report]),
        "sweep": sweep,
        "run": found.run,
        "status": found.status,
        "report": report,
        "reference": list(found.reference),
        "changed": changed,
        "tests": [test.model_dump(mode="json") for test in found.tests],
    }


def tell_webhook(url: str, message: Mapping[str, object], *, sleep: Callable[[float], None]) -> Told:
    """POST it, at most three times and for about 35 seconds where a server answers in time; gives how it went.

    An answer of the server that a second try would not change (4xx but 408 and 429, and redirects) ends it.
    """
    if wrong := webhook_refusal(url):
        return Told(False, f"the webhook's URL {wrong}")
    place, wrong = public_place(url), ""
    # Its client logs every request with the whole URL.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    for number in range(_TRIES):
        if number:
            sleep(_PAUSES_S[number - 1])
        try:
            answer = httpx2.post(url, json=message, timeout=_TIMEOUT_S, follow_redirects=False)
        except (httpx2.HTTPError, httpx2.InvalidURL) as err:
            wrong = type(err).__name__
            continue
        if answer.is_success:
            return Told(True, f"the webhook at {place} was told")
        wrong = f"it answered {answer.status_code}"
        if answer.status_code < 500 and answer.status_code not in (408, 429):
            break
    return Told(False, f"the webhook at {place} could not be told: {wrong}")
