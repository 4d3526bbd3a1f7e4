"""Two partial objects of the API as one: mappings field by field, lists by name. Pure.

As in a strategic merge patch (kubernetes.io, "Update API objects in place"), with two differences: an entry of `env`
and of `volumes` is replaced whole, since a variable or volume has one source; a list without a key is extended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import JsonValue

from controller.kube.objects import JsonObject

__all__ = ["merged"]

_KEYS: Mapping[str, str] = {
    "containers": "name",
    "env": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "resourceClaims": "name",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_WHOLE = frozenset({"env", "volumeMounts", "volumes"})


def merged(base: Mapping[str, JsonValue], overlay: Mapping[str, JsonValue]) -> JsonObject:
    """`base` with everything that `overlay` says; neither is changed."""
    result: JsonObject = dict(base)
    for field, value in overlay.items():
        there = result.get(field)
        if isinstance(there, dict) and isinstance(value, dict):
            result[field] = merged(there, value)
        elif isinstance(there, list) and isinstance(value, list):
            result[field] = _lists(field, there, value)
        else:
            result[field] = value
    return result


def _lists(field: str, base: Sequence[JsonValue], overlay: Sequence[JsonValue]) -> list[JsonValue]:
    key = _KEYS.get(field)
    if key is None:
        return [*base, *(value for value in overlay if value not in base)]
    result = list(base)
    for entry in overlay:
        place = _place(result, entry, key)
        if place is None:
            result.extend([entry] if entry not in result else [])
            continue
        there = result[place]
        if field not in _WHOLE and isinstance(there, dict) and isinstance(entry, dict):
            result[place] = merged(there, entry)
        else:
            result[place] = entry
    return result


def _place(entries: Sequence[JsonValue], entry: JsonValue, key: str) -> int | None:
    """Where the entry of the same name is."""
    if not isinstance(entry, dict) or key not in entry:
        return None
    return next((i for i, one in enumerate(entries) if isinstance(one, dict) and one.get(key) == entry[key]), None)
