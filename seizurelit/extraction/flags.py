"""What an extraction noted of a seizure that must be looked at before it is trained on; read without what reads videos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seizurelit.cache.store import Cache
from seizurelit.config import STREAMS

PAGE = "extraction/index.html"
"""In the cache: the page on which a person sees them."""


def grave_facts(facts: Mapping[str, Any]) -> list[tuple[float, str]]:
    """(weight, why) of the facts of an extraction that are no matter of degree: the wrong patient, or lost frames."""
    reasons: list[tuple[float, str]] = []
    if facts.get("ambiguous"):
        why = facts.get("patient_reason")
        reasons.append((20.0, f"who is the patient is ambiguous{f': {why}' if why else ''}"))
    if facts.get("ended_early"):
        reasons.append((6.0, "the video ended early"))
    if facts.get("decoding_faults"):
        reasons.append((5.0, f"faults in the video: {facts['decoding_faults']}"))
    return reasons


def flagged(cache: Cache) -> dict[str, str]:
    """Seizure → why a person should look at it first, of those in a cache that have such facts."""
    found: dict[str, str] = {}
    for stream in STREAMS:
        for name in cache.seizures(stream):
            if name not in found and (reasons := grave_facts(cache.metadata(name, stream).facts)):
                found[name] = "; ".join(why for _, why in reasons)
    return found


def look_first(cache: Cache) -> str:
    """One line on the flagged seizures of a cache, for whoever is about to train on them; blank without any."""
    found = flagged(cache)
    if not found:
        return ""
    first = "; ".join(f"{name}: {why}" for name, why in sorted(found.items())[:3])
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    page = cache.root / PAGE
    where = f"see {page}" if page.is_file() else "the page that extract writes shows them"
    count = "1 seizure" if len(found) == 1 else f"{len(found)} seizures"
    return f"look first: the extraction flagged {count} ({first}{more}); {where}"
