"""The table in LaTeX: compiled where there is a LaTeX, read by eye's rules where there is none."""

import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seizurelit.reporting.latex import latex

DOCUMENT = r"""\documentclass{article}\usepackage[T1]{fontenc}\usepackage{textcomp,booktabs}\begin{document}
\input{table.tex}
\end{document}"""


@pytest.fixture(scope="module")
def table(reported):
    return (reported / "table.tex").read_text(encoding="utf-8")


def test_every_line_has_the_cells_of_its_head(table):
    parts = re.findall(r"\\begin\{tabular\}\{(l r*|lr*)\}(.*?)\\end\{tabular\}", table, re.DOTALL)
    assert len(parts) >= 3
    for columns, body in parts:
        rules = [body.index(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")]
        assert rules == sorted(rules)
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(lines) >= 2
        for line in lines:
            assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1, line
    for name in ("tabular", "itemize"):
        assert table.count(rf"\begin{{{name}}}") == table.count(rf"\end{{{name}}}")
    assert "0.83" in next(line for line in table.splitlines() if line.startswith("AGCNp + KD"))


def test_it_names_nothing_that_pdflatex_has_no_letter_for(table):
    assert {letter for letter in table if ord(letter) > 255} <= set("’")


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])))
def test_no_text_becomes_a_command(text):
    made = latex(text)
    plain = re.sub(r"\\text\w+\{\}|\$[<>-]\$|-\{\}-|\$-\$|\\[&%$#_{}]", "", made)
    assert not re.search(r"[\\&%$#_{}~^<>]", plain)


def test_minus_and_options():
    assert latex("-0.03 to +0.41") == "$-$0.03 to +0.41"
    assert latex("--preset paper, 0.1–0.2, sub-03") == "-{}-preset paper, 0.1--0.2, sub-03"


def test_it_compiles(reported, tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on the PATH (texlive-latex-recommended)")
    shutil.copy(reported / "table.tex", tmp_path)
    (tmp_path / "document.tex").write_text(DOCUMENT)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "document.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode("latin-1")[-2000:]
    assert (tmp_path / "document.pdf").read_bytes().startswith(b"%PDF")
