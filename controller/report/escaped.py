"""Foreign text in Markdown: as code, where Markdown means nothing, or with every sign escaped that could mean more."""

from __future__ import annotations

import re

from controller.report.text import one_line

__all__ = ["code", "fenced", "prose"]

_MEANING = re.compile(r"[\\`*\[\]<>|~$&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<=www)\.|:(?=//)")
_AT_THE_START = re.compile(r"^(?:[-+=#>]|\d+(?=[.)]))")
_MENTION = re.compile(r"([@#])(?=\w)")
_ZERO_WIDTH = "\N{ZERO WIDTH SPACE}"


def prose(text: str) -> str:
    """Foreign text as plain words: nothing in it is markup, a link, an image, or calls anybody."""
    escaped = _AT_THE_START.sub(_start_escaped, _MEANING.sub(r"\\\g<0>", one_line(text)))
    return _MENTION.sub(rf"\1{_ZERO_WIDTH}", escaped)


def _start_escaped(found: re.Match[str]) -> str:
    """A sign that would begin a list, a heading or a quotation; of a number it is the dot after it."""
    return f"{found[0]}\\" if found[0][0].isdigit() else f"\\{found[0]}"


def code(text: str) -> str:
    """Foreign text as inline code that may stand in a table."""
    line = one_line(text).replace("|", "\\|")
    fence = "`" * (_longest_run(line) + 1)
    blank = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{blank}{line}{blank}{fence}" if line else ""


def fenced(text: str) -> str:
    """Foreign text as a block of code, line by line as it is."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
