"""Telling of a regression, once for each verdict."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from controller.regression.document import Regression
from controller.regression.webhook import message_of, tell_webhook
from controller.regression.webhook_url import VARIABLE
from controller.spec.model import SweepSpec
from controller.streams import tell
from job.contract.errors import SweepError
from job.store import Keys, Store

__all__ = ["page"]

_LIMIT_BYTES = 4096


def page(found: Regression | None, *, spec: SweepSpec, store: Store, sleep: Callable[[float], None]) -> None:
    """POST a regression to the webhook, if there is one and it was not told of this verdict before.

    What was told is noted after it was: a controller that is killed in between tells it once more.
    """
    url = os.environ.get(VARIABLE) or (spec.regression.webhook if spec.regression else None)
    if found is None or found.status != "regression" or not url:
        return
    key, mark = Keys.report("webhook.json"), f'{{"told": "{found.evidence}"}}\n'.encode()
    if _stored(store, key) == mark:
        return
    report = f"{store.uri}/{Keys.report('report.html')}"
    told = tell_webhook(url, message_of(found, sweep=spec.name, report=report), sleep=sleep)
    tell(f"{'' if told.delivered else 'warning: '}{told.words}\n")
    if told.delivered:
        with suppress(SweepError):  # the verdict stands without it, and is told again at worst
            store.put(key, mark)


def _stored(store: Store, key: str) -> bytes | None:
    try:
        return store.read(key, limit_bytes=_LIMIT_BYTES)
    except SweepError:
        return None
