"""The table in LaTeX, to be input into a document that uses the package booktabs."""

from __future__ import annotations

import re

from seizurelit.config import RESEARCH_USE
from seizurelit.evaluation.rendering import STAND_IN, footnotes, table_parts, table_title
from seizurelit.evaluation.table import Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "−": "$-$",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "≥": r"$\geq$",
    "→": r"$\rightarrow$",
    "†": r"\textdagger{}",
    "‡": r"\textdaggerdbl{}",
    "ᵐ": r"\textsuperscript{m}",
    "·": r"$\cdot$",
    "’": "'",
    "α": r"$\alpha$",
    "κ": r"$\kappa$",
    "²": r"\textsuperscript{2}",
}


def latex(text: str) -> str:
    """A text with what LaTeX would take for commands written out; a number's minus is one, two hyphens stay two."""
    text = re.sub(r"(?<![\w.)])-(?=[\d.])", "−", text)
    return "".join(_SPECIAL.get(letter, letter) for letter in text).replace("--", "-{}-").replace("–", "--")


def to_latex(table: Table) -> str:
    """The table as `tabular` environments of booktabs, a part each, with its notes as comments and below."""
    lines = [f"% {table_title(table)}", f"% {RESEARCH_USE}", r"% \usepackage{booktabs}"]
    if table.stand_in:
        lines += [f"% {STAND_IN}", rf"\noindent\textbf{{{latex(STAND_IN)}}}\par"]
    for part in table_parts(table):
        kept = part.filled
        lines += [
            "",
            rf"\medskip\noindent\textbf{{{latex(part.heading)}}}\par\nobreak\smallskip",
            rf"\noindent\begin{{tabular}}{{l{'r' * (len(kept) - 1)}}}",
            r"\toprule",
            " & ".join(latex(part.columns[k]) for k in kept) + r" \\",
            r"\midrule",
            *(" & ".join(latex(texts[k]) for k in kept) + r" \\" for texts in part.lines),
            r"\bottomrule",
            r"\end{tabular}\par",
        ]
    notes = [rf"\item {latex(note)}" for note in footnotes(table)]
    lines += ["", r"\begin{itemize}\footnotesize", *notes, r"\end{itemize}"]
    return "\n".join(lines) + "\n"
