"""What may be a webhook's URL, and what of it may be told. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["VARIABLE", "public_place", "webhook_refusal"]

VARIABLE = "REGRESSION_WEBHOOK_URL"


def webhook_refusal(url: str) -> str | None:
    """Why `url` is no webhook's; None where it may be one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no URL; write https://host/path"
    del port
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "is no http or https URL; write https://host/path"
    if parts.username is not None or parts.password is not None:
        return f"has credentials in it; leave them out, or give the URL in the variable {VARIABLE} from a Secret"
    return None


def public_place(url: str) -> str:
    """Scheme and host of `url`: its path and query may be the secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}"
