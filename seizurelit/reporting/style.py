"""How the report looks: one style sheet for light, dark, print and phone; the colours of Okabe and Ito (2008)."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="robots" content="noindex"><meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer"><title>{title}</title>
<style>{style}</style></head>
<body{kind}>
{body}
</body></html>
"""

STYLE = """
:root { --page: #fbfbfa; --ink: #1d2125; --quiet: #59626b; --line: #d5d9dd; --card: #fff; --link: #0b5394;
  --right: #0072b2; --wrong: #c44a00; --on: #fff; --soft: #eef1f4; --band: #0072b2; --mark: #b97a00;
  --water: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='420' height='260'%3E%3Ctext x='20' y='200' \
transform='rotate(-24 210 130)' font-family='sans-serif' font-size='30' font-weight='700' fill='%23b97a00' \
fill-opacity='.10'%3ESTAND-IN COHORT%3C/text%3E%3C/svg%3E"); }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --ink: #e6e8ea; --quiet: #a2abb4; --line: #363d44;
  --card: #1c2024; --link: #8ec5f4; --right: #56b4e9; --wrong: #f08a4b; --on: #101214; --soft: #262c32; --band: #56b4e9;
  --mark: #e6a817; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 3rem; }
body { margin: 0 auto; max-width: 84rem; padding: 0 1rem 1rem; background: var(--page); color: var(--ink);
  font: 1rem/1.45 system-ui, "Segoe UI", Roboto, sans-serif; }
body.stand-in::after { content: ""; position: fixed; inset: 0; background: var(--water); pointer-events: none; z-index: 3; }
.banner { position: sticky; top: 0; z-index: 4; margin: 0 -1rem; padding: .3rem 1rem; background: var(--mark); color: #000;
  font-weight: 700; text-align: center; max-width: none; }
h1 { font-size: 1.5rem; margin: .7rem 0 .2rem; } h2 { font-size: 1.25rem; margin: 0 0 .4rem; }
h3 { font-size: 1.05rem; margin: 1.1rem 0 .35rem; overflow-wrap: anywhere; } h4 { font-size: .95rem; margin: .7rem 0 .2rem; }
h3 small, h4 small { font-weight: 400; color: var(--quiet); margin-left: .4rem; }
main > section { margin-top: 1.8rem; padding-top: .8rem; border-top: 2px solid var(--line); }
a { color: var(--link); } :focus-visible { outline: 3px solid var(--mark); outline-offset: 2px; }
section:focus { outline: none; } article:focus { outline: none; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; background: var(--card); padding: .5rem; z-index: 5; }
.quiet, footer, caption { color: var(--quiet); } .use { color: var(--quiet); font-size: .9rem; margin: .2rem 0; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; margin: .6rem 0; }
p, li, dd { max-width: 72rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; } caption { text-align: left; padding: .2rem 0; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { vertical-align: bottom; color: var(--quiet); font-weight: 600; }
tbody th { font-weight: 500; } .table tbody th { white-space: nowrap; }
.errors th, .errors td:nth-child(2), .errors thead th { white-space: nowrap; }
.errors td:last-child { min-width: 17rem; } .errors td:nth-child(3) { min-width: 10rem; }
.signs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(33rem, 100%), 1fr)); gap: 0 1.4rem; }
.n { text-align: right; font-variant-numeric: tabular-nums; } td.n { white-space: nowrap; }
tr.baseline { color: var(--quiet); } td.short { color: var(--wrong); font-weight: 600; }
.notes { font-size: .85rem; color: var(--quiet); padding-left: 1.1rem; } .notes li { margin: .15rem 0; }
.flow { list-style: none; display: flex; flex-wrap: wrap; gap: .4rem 2rem; padding: 0; margin: .4rem 0 1rem; }
.flow li { position: relative; border: 1px solid var(--line); border-radius: .4rem; background: var(--card);
  padding: .35rem .7rem; font-size: .9rem; }
.flow li + li::before { content: "→"; position: absolute; left: -1.5rem; top: .5rem; color: var(--quiet); }
.flow b { display: block; }
.flow .lost { display: block; color: var(--wrong); font-weight: 600; font-size: .82rem; max-width: 17rem;
  margin-bottom: .2rem; padding-bottom: .2rem; border-bottom: 1px dashed var(--line); }
.open { columns: 19rem; column-gap: 1.4rem; padding-left: 1.1rem; font-size: .875rem; margin: .2rem 0; }
.open li { break-inside: avoid; } .raters { margin: .1rem 0 .3rem; font-size: .875rem; } td.paper { background: var(--soft); }
dl.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(19rem, 100%), 1fr)); gap: .1rem 1.4rem;
  font-size: .88rem; margin: .4rem 0; }
dl.facts div { display: flex; justify-content: space-between; gap: 1rem; border-bottom: 1px solid var(--line); }
dt { color: var(--quiet); } dd { margin: 0; text-align: right; overflow-wrap: anywhere; }
.heat td { padding: .12rem .25rem; border: 0; } .heat tbody th { padding: .12rem .5rem .12rem 0; border: 0; min-width: 4.5rem;
  max-width: 11rem; overflow-wrap: anywhere; position: sticky; left: 0; background: var(--page); }
.heat thead th { border: 0; padding: .2rem .25rem; font-size: .78rem; font-weight: 500; max-width: 5.2rem; }
.cells { display: flex; flex-wrap: wrap; gap: 2px; min-width: 4.4rem; }
.cells a, .cells i, .legend i { display: inline-flex; width: 1.25rem; height: 1.25rem; align-items: center;
  justify-content: center; font: 700 .8rem/1 system-ui, sans-serif; text-decoration: none; color: var(--on);
  border-radius: 2px; }
.y { background: var(--right); } .x { background: var(--wrong); border-radius: 50% !important; }
.m { background: linear-gradient(135deg, var(--right) 50%, var(--wrong) 50%); }
.u { background: none; border: 1px dashed var(--quiet); color: var(--quiet) !important; }
.cells a:hover { outline: 2px solid var(--ink); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; padding: 0; font-size: .875rem; }
.legend i { margin-right: .35rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(33rem, 100%), 1fr)); gap: .4rem 1.4rem; }
.charts figure, .losses figure { margin: 0; break-inside: avoid; } figcaption { font-size: .88rem; }
.trio { display: flex; } .trio svg { width: 33.3%; height: auto; }
.losses { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); gap: .6rem 1.2rem; }
svg text { font: 9px system-ui, sans-serif; fill: var(--quiet); }
svg .frame { fill: var(--card); stroke: var(--line); } svg path { fill: none; }
svg .band { fill: var(--band); fill-opacity: .22; } svg .line { stroke: var(--band); stroke-width: 1.8; }
svg .chance { stroke: var(--quiet); stroke-dasharray: 3 3; } svg .yes { stroke: var(--right); } svg .no { stroke: var(--wrong); }
svg .fold { stroke: var(--band); stroke-opacity: .45; } svg .dots { stroke: var(--band); stroke-width: 4; stroke-linecap: round; }
svg .for { stroke: var(--right); } svg .against { stroke: var(--wrong); } svg circle { fill: var(--ink); }
svg .bone { stroke: var(--line); stroke-width: 4; stroke-linecap: round; stroke-linejoin: round; }
svg .g1 { stroke-opacity: .2; } svg .g2 { stroke-opacity: .4; } svg .g3 { stroke-opacity: .6; } svg .g4 { stroke-opacity: .8; }
svg .at-random { fill: var(--quiet); } svg.map text { font-size: 7.5px; } svg.map text.small { font-size: 5.5px; }
svg.map { width: 100%; max-width: 34rem; height: auto; display: block; } svg.map g path { stroke-width: .94; }
.maps { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(23rem, 100%), 1fr)); gap: .6rem 1.4rem;
  margin-top: .8rem; }
.maps figure, .grounds figure, .graphs figure { margin: 0; break-inside: avoid; }
.grounds { display: flex; flex-wrap: wrap; gap: .4rem 1.4rem; align-items: flex-start; }
.grounds > div { flex: 1 1 22rem; min-width: 0; } .grounds figure { width: 12.5rem; }
svg.faith, svg.graph { width: 100%; height: auto; display: block; }
.graphs { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .4rem 1rem; max-width: 68rem; }
.graphs figcaption { font-size: .8rem; color: var(--quiet); }
svg.time { width: 160px; height: 26px; display: block; } svg.training { width: 100%; height: auto; }
article { margin-top: 1rem; padding: .8rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
article:target { border-color: var(--mark); box-shadow: 0 0 0 2px var(--mark); }
article h3 { margin-top: 0; } .links { display: flex; flex-wrap: wrap; gap: .9rem; font-size: .9rem; }
.said { white-space: nowrap; } .said.x0 { color: var(--wrong); font-weight: 600; } .spoken tbody th { white-space: nowrap; }
details { margin: .4rem 0; } summary { cursor: pointer; color: var(--link); }
@media (max-width: 40rem) { body { padding: 0 .6rem .6rem; } .banner { margin: 0 -.6rem; } .trio { flex-wrap: wrap; }
  .trio svg { width: 50%; } .grounds figure { width: calc(50% - .7rem); } .grounds > div { flex-basis: 100%; }
  th, td { padding: .25rem .4rem; } article { padding: .6rem; } dl.facts div { gap: .5rem; }
  .cards, .cards tbody, .cards tr { display: block; } .cards thead { position: absolute; left: -99rem; }
  .cards tr { padding: .35rem 0; border-bottom: 1px solid var(--line); }
  .cards th[scope=row] { display: block; padding: 0; border: 0; font-weight: 600; }
  .cards td { display: flex; justify-content: space-between; gap: 1rem; padding: .05rem 0; border: 0; min-width: 0 !important;
    text-align: right; white-space: normal; }
  .cards td::before { color: var(--quiet); text-align: left; flex: none; } .cards td:empty { display: none; }
  .errors td:nth-child(2)::before { content: "Label"; } .errors td:nth-child(3)::before { content: "Moment"; }
  .errors td:nth-child(4)::before { content: "Body missing"; } .errors td:nth-child(5)::before { content: "Face missing"; }
  .errors td:nth-child(6)::before { content: "Video"; } .errors td:nth-child(7)::before { content: "Wrong"; }
  .errors td:nth-child(8)::before { content: "Models"; }
  .spoken td:nth-child(2)::before { content: "Score of each seed"; } .spoken td:nth-child(3)::before { content: "Says"; }
  .spoken td:nth-child(4)::before { content: "That is"; } .spoken td:nth-child(5)::before { content: "Over time"; }
  .scroll > table:not(.cards):not(.list) tbody th { position: sticky; left: 0; background: var(--page); max-width: 7.5rem;
    white-space: normal; }
  .flow { flex-direction: column; } .flow li + li::before { content: "↓"; left: .6rem; top: -1.25rem; } .flow { gap: 1.2rem; } }
@media print { :root { --page: #fff; --ink: #000; --quiet: #444; --line: #bbb; --card: #fff; --link: #000; --right: #0072b2;
  --wrong: #c44a00; --on: #fff; --soft: #eef1f4; --band: #0072b2; --mark: #b97a00; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  html { font-size: 8.5pt; } body { max-width: none; padding: 0; } nav, .skip, .links { display: none; }
  .banner { position: static; margin: 0; } .scroll { overflow: visible; } table { font-size: 7.5pt; }
  th, td { padding: .1rem .3rem; } .signs { grid-template-columns: 1fr 1fr; gap: 0 .8rem; } svg.time { width: 92px; height: 15px; }
  .spoken { font-size: 6.5pt; } .spoken td, .spoken th { padding: .05rem .25rem; }
  article { break-inside: avoid; } .heat tbody th { position: static; }
  article { border: 0; padding: 0; } tr, figure { break-inside: avoid; }
  h2, h3 { break-after: avoid; } main > section { break-before: page; }
  main > section:first-child, #table { break-before: auto; } }
"""
