"""The plot: a bar for each way, cut by stage; SVG by hand, readable in light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from packed.measured import STAGES, MeasuredWay
from packed.settings import WAYS

__all__ = ["plot"]

# Okabe and Ito's palette, which the colour-blind can tell apart.
_COLOURS = {"startup": "#999999", "data": "#f0e442", "train": "#0072b2", "evaluate": "#e69f00", "publish": "#009e73"}
_WIDTH, _LEFT, _RIGHT = 860, 20, 90
_TOP, _ROW, _BAR = 40, 44, 18


def plot(ways: Sequence[MeasuredWay]) -> str:
    """An SVG document."""
    height = _TOP + _ROW * len(ways) + 12
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
            f'height="{height}" role="img" font-family="sans-serif" font-size="13">',
            f"<title>{escape(_title(ways))}</title>",
            f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
            *_key(),
            *(line for place, way in enumerate(ways) for line in _bar(way, place, scale=_scale(ways))),
            "</svg>",
            "",
        ]
    )


def _title(ways: Sequence[MeasuredWay]) -> str:
    return "Seconds by stage: " + "; ".join(f"{WAYS[way.way]} {way.seconds:.0f}" for way in ways)


def _scale(ways: Sequence[MeasuredWay]) -> float:
    """Pixels for a second."""
    return (_WIDTH - _LEFT - _RIGHT) / max(way.seconds for way in ways)


def _key() -> Iterator[str]:
    for place, (stage, colour) in enumerate(_COLOURS.items()):
        x = _LEFT + 110 * place
        yield f'<rect x="{x}" y="12" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{x + 18}" y="22">{stage}</text>'


def _bar(way: MeasuredWay, place: int, *, scale: float) -> Iterator[str]:
    y = _TOP + _ROW * place
    yield f'<text x="{_LEFT}" y="{y + 12}">{escape(WAYS[way.way])}</text>'
    x = float(_LEFT)
    for stage in STAGES:
        width = max(way.stage(stage), 0.0) * scale
        yield f'<rect x="{x:.1f}" y="{y + 18}" width="{width:.1f}" height="{_BAR}" fill="{_COLOURS[stage]}"/>'
        x += width
    yield f'<text x="{x + 6:.1f}" y="{y + 32}">{way.seconds:.1f} s</text>'
