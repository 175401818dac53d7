"""Pieces of HTML that every section of a page is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def scrolled(label: str, heads: Sequence[str], lines: Sequence[str], kind: str = "") -> str:
    """A table that scrolls by itself where it is too wide; a head that starts with # stands over numbers."""
    cells = "".join(
        f'<th scope="col"{" class=n" if head.startswith("#") else ""}>{escape(head.removeprefix("#"))}</th>'
        for head in heads
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
        f'<table class="{kind}"><thead><tr>{cells}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
    )


def line(heads: Sequence[str], cells: Sequence[str], kind: str = "") -> str:
    """A line of a table, its cells HTML under their heads; the first names the line."""
    first, *others = cells
    parts = "".join(
        f"<td{' class=n' if head.startswith('#') else ''}>{cell}</td>"
        for head, cell in zip(heads[1:], others, strict=True)
    )
    return f'<tr{f" class={kind}" if kind else ""}><th scope="row">{first}</th>{parts}</tr>'


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Names and what is known of them, two by two."""
    items = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(str(value))}</dd></div>" for key, value in pairs)
    return f'<dl class="facts">{items}</dl>'
