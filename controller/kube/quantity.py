"""Kubernetes quantities as numbers."""

from __future__ import annotations

import re
from decimal import Decimal

__all__ = ["quantity"]

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_QUANTITY = re.compile(
    r"(?P<number>[+-]?(\d+\.?\d*|\.\d+))([eE](?P<exponent>[+-]?\d{1,2})|(?P<suffix>[numkMGTPE]|[KMGTPE]i))?", re.ASCII
)
_POWERS_OF_10 = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_POWERS_OF_1024 = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_FACTORS = {suffix: Decimal(1).scaleb(power) for suffix, power in _POWERS_OF_10.items()} | {
    suffix: Decimal(1024) ** power for suffix, power in _POWERS_OF_1024.items()
}


def quantity(text: str) -> Decimal:
    """The number that `text` stands for, such as 0.5 for "500m" and 1024 for "1Ki". Raises ValueError."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no quantity; write a number with an optional suffix, such as 500m, 2 or 16Gi")
    number, exponent, suffix = Decimal(found["number"]), found["exponent"], found["suffix"] or ""
    if exponent is not None:
        return number.scaleb(int(exponent))
    return number * _FACTORS[suffix]
