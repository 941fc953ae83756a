"""How the backups stand, in words: the latest, whether it was proven, what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf

from appliance.backups.backups import UnderWay
from appliance.clock import day, since
from appliance.database.backups import Backup
from appliance.web import words
from appliance.web.documents import Part

LATE = 2
"""Times the interval; then one is missed."""


def backups_part(
    known: Sequence[Backup], proven_at: float | None, *, every_s: float | None, now: float
) -> Part | None:
    """`known` are the newest first, `proven_at` is when one was last found sound; `every_s` None:
    none is taken by itself. None: nothing to say, nobody takes any here."""
    if not known:
        if every_s is None:
            return None
        return {"ok": True, "detail": "the first one is about to be taken", "needed": False}
    taken = next((one for one in known if one.snapshot), None)
    fault = _fault(known[0], taken, every_s, now)
    return {"ok": fault is None, "detail": fault or _words(taken, proven_at, now), "needed": False}


def under_way_words(under_way: UnderWay | None) -> str | None:
    """`one is being taken, 1.2 GB copied so far`; None: none is."""
    if under_way is None:
        return None
    done = "copied" if under_way.what == "taken" else "read"
    size = words.bytes_in_words(under_way.size_bytes)
    return f"one is being {under_way.what}, {size} {done} so far"


def _fault(tried: Backup, taken: Backup | None, every_s: float | None, now: float) -> str | None:
    if tried.error is not None:
        return f"the last one failed: {tried.error}"
    if taken is None:
        return None
    if taken.faults is not None:
        return f"the last one is damaged: {taken.faults} Take another: `appliance backup`."
    if isinf(since(taken.began_at, now)):
        return (
            f"the last one is dated {day(taken.began_at)}, which is to come: look at the clock, "
            "and take another: `appliance backup`"
        )
    if every_s is not None and now - taken.began_at > LATE * every_s:
        return f"the last one was taken {words.ago(taken.began_at, now)}"
    if taken.lacking:
        count = words.count(taken.lacking, "file")
        return f"{count} could not be copied: missing or damaged in the store; the log names them"
    return None


def _words(taken: Backup | None, proven_at: float | None, now: float) -> str:
    if taken is None:
        return "the first one is being taken"
    told = f"proven {words.ago(proven_at, now)}" if proven_at else "none was proven yet"
    size = words.bytes_in_words(taken.size_bytes)
    files = words.count(taken.files, "file")
    return f"the last one {words.ago(taken.began_at, now)}, {files}, {size}; {told}"
