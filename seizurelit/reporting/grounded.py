"""What the scores rest on, as HTML: a section on how far to believe it, and the maps of each seizure."""

from __future__ import annotations

import math
from html import escape

import numpy as np

from seizurelit.evaluation.table import Row
from seizurelit.reporting.evidence import Evidence
from seizurelit.reporting.grounds import Figure, RowGrounds, Sanity, SeizureGrounds
from seizurelit.reporting.maps import faithfulness, graph, strongest, timed_map
from seizurelit.reporting.parts import scrolled

_TO = {
    "classifier": "the same network, its classifier untrained",
    "upper half": "its upper half untrained",
    "all": "all of it untrained",
    "two untrained networks": "for comparison: two untrained networks to one another",
    "other subjects' seizures": "for comparison: other patients’ seizures to one another",
}
_METHODS = {"integrated_gradients": "integrated gradients", "grad_cam": "Grad-CAM"}
_VERDICTS = {
    True: "The weights decide the maps: without them the maps are gone.",
    False: "The maps survive without the weights: do not believe them.",
    None: "Whether the maps survive without the weights cannot be told: too few patients, or an interval across the limit.",
}


def grounds_section(evidence: Evidence) -> str:
    """How far the grounds of each row can be believed, and the graph that it has learned."""
    grounds = evidence.grounds
    rows = [row for row in evidence.table.rows if row.key in grounds.rows]
    missing = [row for row in evidence.table.rows if row.seeds and not row.baseline and row.key.model != "fusion"]
    missing = [row for row in missing if row.key not in grounds.rows]
    fault = f"<p>{escape(grounds.fault)}</p>" if grounds.fault else ""
    where = "runs/NAME" if evidence.shared else str(evidence.run.folder)
    command = f"<code>python -m seizurelit.explain {escape(where)}</code>"
    if not rows:
        return f"{fault}<p>What the scores rest on is not here: {command} makes it, and <code>report</code> then shows it.</p>"
    parts = [
        fault,
        "<p>What spoke for the class that a network named, by networks that never saw the patient. Integrated gradients, from a "
        "baseline of nothing found, share the class’s lead over the other among joints and times, with their sign; Grad-CAM says "
        "where the last block looked. The maps of each seizure stand with it, further down, below the windows’ scores of the "
        "positive class: blue speaks for the class that was named, orange against it, and the number beside a joint is its share "
        "of all that speaks for it. What decides a score need not be what a clinician would call the sign.</p>"
        "<p>Faithful maps hurt the score more than a random order does when their first joints and times are taken away, and help "
        "it more when they are put in; bands are 95 % over patients at each place, intervals BCa, of the seizures that were "
        "named rightly. A map must also go with the network’s weights (Adebayo et al., 2018): the likeness is Spearman’s ρ, of "
        "the ranks up to a sign, and of the ranks of the sizes. What "
        "two untrained networks have in common is owed to the input.</p>",
    ]
    if missing:
        names = ", ".join(f"{row.group}: {row.name}" for row in missing)
        parts.append(f"<p>Not explained: {escape(names)}; {command} makes what is missing.</p>")
    for group in dict.fromkeys(row.group for row in rows):
        parts.append(f"<h3>{escape(group)}</h3>")
        parts += [_row(row, grounds.rows[row.key]) for row in rows if row.group == group]
    return "\n".join(parts)


def _row(row: Row, found: RowGrounds) -> str:
    charts = []
    for kind, verb in (("deletion", "hurts"), ("insertion", "helps")):
        gain = found.gains.get(kind)
        if gain is None or not {kind, f"random_{kind}"} <= set(found.curves):
            continue
        said = f"{kind} {verb} more than at random by {_figure(gain)}"
        charts.append(
            f"<figure>{faithfulness(found, kind, f'{row.name}: {said}')}<figcaption>{escape(said)}</figcaption></figure>"
        )
    sanity = _sanity(row, found.sanity) if found.sanity is not None else "<p>Randomisation was not asked for.</p>"
    arms = "; ".join(
        f"{_METHODS.get(method, method)} {right} of {of} ({right / max(of, 1):.0%})"
        for method, (right, of) in found.localisation.items()
    )
    located = (
        f"<p>The arm that shows the sign is the more attributed one, of the positive seizures that were named rightly: "
        f"{escape(arms)}; chance is 50 %.</p>"
        if arms
        else ""
    )
    return (
        f"<h4>{escape(row.name)}<small>seed {found.seed}, {found.correct} of {found.seizures} named rightly</small></h4>"
        f'<div class="grounds">{"".join(charts)}<div>{sanity}{located}</div></div>{_graphs(row, found)}'
    )


def _sanity(row: Row, sanity: Sanity) -> str:
    lines = [
        f'<tr><th scope="row">{escape(_TO.get(name, name))}</th><td class="n">{_figure(signed)}</td>'
        f'<td class="n">{_figure(strength)}</td></tr>'
        for name, (signed, strength) in sorted(sanity.alike.items(), key=lambda item: _place(item[0]))
    ]
    heads = ("Likeness of the maps to those of", "#Ranks, up to a sign", "#Ranks of sizes")
    verdict = f"<p>{_VERDICTS[sanity.destroyed]} (Limit: {sanity.limit:g}, interval and all.)</p>"
    return scrolled(f"Maps of randomised networks, {row.group} {row.name}", heads, lines) + verdict


def _place(name: str) -> int:
    return list(_TO).index(name) if name in _TO else len(_TO)


def _graphs(row: Row, found: RowGrounds) -> str:
    if found.adjacency is None:
        return ""
    figures = []
    for block, matrix in enumerate(found.adjacency):
        links = ", ".join(
            f"{found.names[source]} to {found.names[target]} {matrix[source, target]:+.1f}".replace("-", "−")
            for source, target in strongest(matrix, 2, without=found.bones)
        )
        label = f"{row.group} {row.name}, block {block + 1}, strongest links beside the bones: {links}"
        figures.append(
            f"<figure>{graph(found, block, label)}<figcaption>block {block + 1}<br>{escape(links)}</figcaption></figure>"
        )
    return (
        f"<p>Learned graph, A + B + C of each block, the mean over the {found.correct} seizures that were named rightly: the "
        "strongest links, blue above 0, orange below, on the median posture seen from the front; a larger dot gives more to "
        "others. A holds the bones; named are the two strongest links beside them, which the networks have learned.</p>"
        f'<div class="graphs">{"".join(figures)}</div>'
    )


def _figure(figure: Figure) -> str:
    if figure.value is None:
        return "–"
    ends = f" ({figure.low:.2f}–{figure.high:.2f})" if figure.low is not None and figure.high is not None else ""
    return f"{figure.value:.2f}{ends}".replace("-", "−")


def grounds_of_seizure(evidence: Evidence, sign: str, name: str) -> str:
    """The maps of a seizure by the rows of a sign; nothing where none was explained."""
    figures: list[str] = []
    crossed: dict[str, str] = {}
    for row in evidence.rows(sign, trained=True):
        found = evidence.grounds.rows.get(row.key)
        if found is None or name not in found.by_seizure:
            continue
        one = found.by_seizure[name]
        calls = evidence.calls.get(row.key, {}).get(name, ())
        windows = evidence.windows[row.key].get(name, ())
        threshold = calls[0].threshold if calls else math.nan
        named = evidence.in_words(sign, one.named)
        said = f"speaks for {named} (score {one.score:.2f})"
        label = f"{name}, {row.name}: what {said}: {_most(one, found)}"
        figure = (
            f"<figure><figcaption><b>{escape(row.name)}</b> {escape(said)}</figcaption>"
            f"{timed_map(one, found, windows, threshold, label)}</figure>"
        )
        if row.group == sign:
            figures.append(figure)
        else:
            crossed[row.name] = figure
    shown = f'<div class="maps">{"".join(figures)}</div>' if figures else ""
    if crossed:
        names = escape(", ".join(crossed))
        inner = "".join(crossed.values())
        shown += f'<details><summary>Grounds of {names}</summary><div class="maps">{inner}</div></details>'
    return shown


def _most(one: SeizureGrounds, row: RowGrounds) -> str:
    """Where most of what speaks for the class is, in words."""
    speaking = one.values.clip(min=0)
    total = float(speaking.sum())
    if total <= 0:
        return "nothing does"
    shares = speaking.sum(axis=0) / total
    joints = ", ".join(f"{row.names[place]} {shares[place]:.0%}" for place in np.argsort(-shares, kind="stable")[:3])
    peak = int(speaking.sum(axis=1).argmax()) * row.seconds
    return f"{joints}; most at {peak:g} s"
