"""The page in a real Chromium: nothing in the console, from a cell to a seizure by mouse and by keyboard, readable, quick."""

from __future__ import annotations

import base64
import json

import pytest

from .conftest import HOSTILE

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
TAB, ENTER = ("Tab", 9), ("Enter", 13)

# The lowest ratio of contrast (WCAG 2.2, 1.4.3) of a text to the nearest ground below it, and the text.
CONTRAST = """
(() => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [.2126, .7152, .0722][k], 0);
  let worst = [21, ''];
  for (const e of document.querySelectorAll('body *:not(svg *):not(.m)')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || e.closest('.skip')) continue;
    let ground = e;
    while (ground && (channels(getComputedStyle(ground).backgroundColor)[3] ?? 1) === 0) ground = ground.parentElement;
    const pair = [getComputedStyle(e).color, getComputedStyle(ground ?? document.body).backgroundColor].map(channels).map(light);
    const ratio = (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
    if (ratio < worst[0]) worst = [ratio, e.tagName + ' ' + e.className + ' ' + e.textContent.slice(0, 40)];
  }
  return worst;
})()
"""


@pytest.fixture
def page(browser, reported):
    browser.look(**WIDE)
    browser.open((reported / "report.html").as_uri())
    return browser


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", [WIDE, PHONE])
def test_it_opens_without_complaint_asks_for_nothing_and_fits(page, reported, size, dark):
    page.look(**size, dark=dark)
    page.open((reported / "report.html").as_uri())
    assert page.complaints == []
    assert page.requests == []
    assert page.run("document.documentElement.scrollWidth") <= size["width"]
    assert page.run("document.querySelectorAll('main > section').length") == 10


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_stands_out_from_its_ground(page, dark):
    page.look(**WIDE, dark=dark)
    ratio, where = page.run(CONTRAST)
    assert 4.5 <= ratio < 21, where


def test_right_and_wrong_differ_by_more_than_colour(page):
    marks = page.run("[...document.querySelectorAll('.cells a')].map(e => [e.className, e.textContent])")
    signs = {(kind, sign) for kind, sign in marks}
    assert {kind for kind, _ in signs} == {"y", "x", "m", "u"}
    assert len({sign for _, sign in signs}) == len(signs) == 4


def test_a_click_on_a_cell_leads_to_the_seizure(page):
    name = page.run("document.querySelector('#heat tbody tr:nth-child(3) .cells a').title.split(',')[0]")
    page.click("#heat tbody tr:nth-child(3) .cells a")
    page.wait("location.hash.startsWith('#s')")
    article = "document.querySelector(location.hash)"
    assert page.run(f"{article}.querySelector('h3').firstChild.textContent") == name
    page.wait(f"(r => r.top >= 0 && r.top < innerHeight / 2)({article}.getBoundingClientRect())")
    assert page.run(f"document.activeElement === {article}")
    assert page.run(f"{article}.querySelectorAll('svg.time').length") >= 3
    assert page.complaints == []


def test_the_keyboard_alone_leads_from_the_top_to_a_seizure_and_on(page):
    page.press(*TAB)
    assert page.run("document.activeElement.textContent") == "Skip to the errors"
    page.press(*ENTER)
    page.wait("location.hash === '#errors'")
    for _ in range(3):
        page.press(*TAB)
        if page.run("document.activeElement.matches('.errors a[href^=\"#s\"]')"):
            break
    name = page.run("document.activeElement.textContent")
    outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.press(*ENTER)
    page.wait("location.hash.startsWith('#s')")
    assert page.run("document.activeElement.querySelector('h3').textContent").startswith(name)
    page.press(*TAB)
    assert page.run("document.activeElement.closest('article').id") == page.run("location.hash.slice(1)")


def test_a_screen_reader_hears_a_name_for_all_that_it_stops_at(page):
    nodes = page.send("Accessibility.getFullAXTree")["nodes"]
    heard: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            role = node["role"]["value"]
            heard.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    for role in ("link", "image", "region", "navigation", "heading", "table"):
        assert heard[role], role
    for role in ("link", "image", "region", "navigation", "heading"):
        assert all(heard[role]), role
    assert f"{HOSTILE} 1, TCNp" in " ".join(heard["link"])
    # What is below the fold is heard too: content-visibility would leave it out.
    assert len(heard["article"]) == page.run("document.querySelectorAll('article').length") == 11


def test_a_phone_shows_an_error_as_a_card_with_its_heads(page):
    page.look(**PHONE)
    assert page.run("getComputedStyle(document.querySelector('.errors tr:nth-child(1) td')).display") == "flex"
    before = "getComputedStyle(document.querySelector('{}'), '::before').content"
    for kind in ("errors", "spoken"):
        heads = page.run(f"[...document.querySelector('.{kind}').querySelectorAll('thead th')].map(e => e.textContent)")
        for place, head in enumerate(heads[1:], 2):
            shown = json.loads(page.run(before.format(f".{kind} tbody td:nth-child({place})")))
            assert shown in head or head.endswith(shown.lower()), head


def test_it_prints(page):
    page.look(media="print")
    for hidden in ("nav", ".links"):
        assert page.run(f"getComputedStyle(document.querySelector('{hidden}')).display") == "none"
    pdf = base64.b64decode(page.send("Page.printToPDF", printBackground=True)["data"])
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") >= 8


def test_the_first_paint_is_within_a_second(browser, reported):
    """The quickest of three, as the machine may be busy."""
    found = []
    for _ in range(3):
        browser.look(**WIDE)
        browser.open((reported / "report.html").as_uri())
        browser.wait("performance.getEntriesByType('paint').length > 0")
        found.append(browser.run("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    assert min(found) < 1000
