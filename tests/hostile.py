"""Text that would do something if anything read it as more than text; FAULTS of pages, Markdown and terminals."""

from __future__ import annotations

__all__ = ["HOSTILE", "MARKER"]

MARKER = "data-owned"
"""An attribute that any payload that ran has put on the page's root."""

_RUN = f"document.documentElement.setAttribute('{MARKER}','1')"

HOSTILE: tuple[str, ...] = (
    f"<script>{_RUN}</script>",
    f"</style><script>{_RUN}</script>",
    f'</title></textarea><img src=x onerror="{_RUN}">',
    f'" onmouseover="{_RUN}" autofocus onfocus="{_RUN}" x="',
    f"' onload='{_RUN}' x='",
    f'<svg onload="{_RUN}"><text>x</text></svg>',
    f"</text></svg><script>{_RUN}</script>",
    f'<a href="javascript:{_RUN}">javascript:{_RUN}</a>',
    f'<iframe srcdoc="<script>parent.{_RUN}</script>"></iframe>',
    "<link rel=stylesheet href=http://192.0.2.1/x.css><meta http-equiv=refresh content='0;url=http://192.0.2.1/'>",
    "--></desc><style>body{display:none}</style><!--",
    "{{7*7}} {% for x in y %} {{ config.items() }} ${7*7} #{7*7}",
    "| a | b |\n| --- | --- |\n`x` ```y``` ~~~ ![p](http://192.0.2.1/p.png) [l](javascript:alert(1)) @somebody #12",
    "# Heading\n- item\n1. item\n> quote\n<details open>\n***bold***\n\n---\nhttps://192.0.2.1/ www.example.com",
    "\x1b[2J\x1b]0;owned\x07\x1b[31mred\x1b[0m \x9b31m \x08\x08 \x7f bell\x07",
    "\u202egnp.exe \u2066hidden\u2069 \u200f",
    '=HYPERLINK("http://192.0.2.1/","x")',
    "\U0001f600 e\u0301 \u4e2d\u6587 \u0627\u0644",
)
