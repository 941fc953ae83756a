"""GET /dashboard/metrics and GET /metrics/history: figures of an hour, a day or a week."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Literal, NamedTuple

from aiohttp import web

from appliance.clock import rfc3339
from appliance.database import history
from appliance.database.history import History, Slot, Span
from appliance.jobs import JobType
from appliance.web import queries, words
from appliance.web.charts import MINUTES_AND_MORE, Chart, chart
from appliance.web.documents import FiguresDocument, SlotDocument
from appliance.web.representation import json_response
from appliance.web.services import services
from appliance.web.shared_panels import shared_panels
from appliance.web.templates import render_panels


class Range(StrEnum):
    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"


class View(NamedTuple):
    span: Span
    words: Literal["hour", "day", "week"]
    times: tuple[str, ...]
    row_slots: int
    """As many slots make a row of the table, which is for reading and not for drawing."""
    every_s: int
    """How often an open page asks again: the coarser its slots, the less often. To put a week
    together takes 90 ms where every minute was busy."""


VIEWS = {
    Range.HOUR: View(history.HOUR, "hour", ("60 min", "45 min", "30 min", "15 min", "now"), 5, 5),
    Range.DAY: View(history.DAY, "day", ("24 h", "18 h", "12 h", "6 h", "now"), 12, 30),
    Range.WEEK: View(
        history.WEEK, "week", ("7 d", "6 d", "5 d", "4 d", "3 d", "2 d", "1 d", "now"), 12, 60
    ),
}


@shared_panels
async def show_metrics(request: web.Request) -> web.Response:
    """The page, or with `?fragment=panels` the part that is refreshed."""
    wanted, job_type, found = await _asked(request)
    view = VIEWS[wanted]
    context = {
        "charts": _charts(found, view),
        "rows": _rows(found, view),
        "view": view,
        "every_s": view.every_s,
        "ranges": [
            (VIEWS[one].words, _address(one, job_type), one is wanted) for one in Range
        ],
        "types": [
            (None, "All types", _address(wanted, None), job_type is None),
            *(
                (one, words.KINDS[one], _address(wanted, one), one is job_type)
                for one in JobType
            ),
        ],
    }  # fmt: skip
    return render_panels(request, "metrics", context)


async def get_history(request: web.Request) -> web.StreamResponse:
    """GET /metrics/history?range=&type=: the same as JSON; null for a time without figures."""
    wanted, job_type, found = await _asked(request)
    span = VIEWS[wanted].span
    begin = span.begin(services(request).clock.now()) * 60.0
    return json_response(
        FiguresDocument(
            range=VIEWS[wanted].words,
            type=job_type,
            begin=rfc3339(begin),
            stepS=span.step_minutes * 60,
            slots=[None if slot is None else _document(slot) for slot in found],
        )
    )


async def _asked(request: web.Request) -> tuple[Range, JobType | None, History]:
    shared = services(request)
    wanted = queries.one_of(Range, request, "range") or Range.HOUR
    job_type = queries.one_of(JobType, request, "type")
    found = await shared.database.read(
        history.read(VIEWS[wanted].span, now=shared.clock.now(), job_type=job_type)
    )
    return wanted, job_type, found


def _document(slot: Slot) -> SlotDocument:
    return {
        "at": rfc3339(slot.at),
        "received": slot.received,
        "receivedBytes": slot.received_bytes,
        "completed": slot.completed,
        "failed": slot.failed,
        "successRate": slot.success,
        "averageS": slot.average_s,
        "p95S": slot.p95_s,
        "queued": slot.queued,
        "oldestS": slot.oldest_s,
        "active": slot.active,
    }


def _charts(found: History, view: View) -> list[Chart]:
    def points(figure: Callable[[Slot], float | None]) -> list[float | None]:
        return [None if slot is None else figure(slot) for slot in found]

    number, times = words.figure, view.times
    return [
        chart(
            "uploads", "Uploads per minute",
            [("Uploads", points(lambda slot: slot.received / slot.minutes))],
            label=number, times=times,
        ),
        chart(
            "bytes", "Received per minute",
            [("Received", points(lambda slot: slot.received_bytes / slot.minutes))],
            label=words.bytes_in_words, times=times,
        ),
        chart(
            "processing", "Processing time",
            [("Average", points(lambda slot: slot.average_s)),
             ("95 % take no longer", points(lambda slot: slot.p95_s))],
            label=_seconds, times=times,
            steps=MINUTES_AND_MORE,
        ),
        chart(
            "ended", "Jobs ended per minute",
            [("Completed", points(lambda slot: slot.completed / slot.minutes)),
             ("Failed", points(lambda slot: slot.failed / slot.minutes))],
            label=number, times=times,
        ),
        chart(
            "rate", "Success and failure rate",
            [("Succeeded", points(lambda slot: slot.success)),
             ("Failed", points(lambda slot: slot.failure))],
            label=words.percent, times=times, at_least=1.0,
        ),
        chart(
            "queue", "Queue length", [("Queued", points(lambda slot: slot.queued))],
            label=number, times=times, whole=True,
        ),
        chart(
            "oldest", "Longest wait in the queue",
            [("Oldest", points(lambda slot: slot.oldest_s))], label=_seconds, times=times,
            steps=MINUTES_AND_MORE,
        ),
        chart(
            "active", "Active workers", [("Active", points(lambda slot: slot.active))],
            label=number, times=times, whole=True,
        ),
    ]  # fmt: skip


def _seconds(number: float) -> str:
    return words.duration(number) if number else "0 s"


def _rows(found: History, view: View) -> list[Slot]:
    """Newest first; times without figures have no row."""
    parts = (found[at : at + view.row_slots] for at in range(0, len(found), view.row_slots))
    return [row for part in parts if (row := history.together(part)) is not None][::-1]


def _address(wanted: Range, job_type: JobType | None) -> str:
    kind = f"&type={job_type.lower()}" if job_type else ""
    return f"/dashboard/metrics?range={wanted.lower()}{kind}"
