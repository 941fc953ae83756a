"""GET /dashboard/audit: who did what, and to how many jobs; selected as in GET /audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from appliance.clock import seconds_of
from appliance.database import audit, keys
from appliance.database.audit import Act, Selection
from appliance.database.dead_letters import Filter
from appliance.database.protocol import Transaction
from appliance.ids import is_id
from appliance.jobs import JobType
from appliance.web import queries, words
from appliance.web.audit import selection_of
from appliance.web.failures import selection
from appliance.web.services import services
from appliance.web.shared_panels import shared_panels
from appliance.web.templates import render_panels

ACTS = 20

_FIELDS = Selection.__struct_fields__
DONE = {
    "job.cancel": "Cancelled a job",
    "job.retry": "Tried a job again",
    "job.delete": "Deleted a job",
    "job.process": "Processed a file again",
    "job.release": "Released a file",
    "dead_letters.retry": "Tried dead letters again",
    "dead_letters.discard": "Discarded dead letters",
    "dead_letters.stop": "Stopped trying again",
    "pause.set": "Paused",
    "pause.end": "Resumed",
    "key.create": "Made a key",
    "key.revoke": "Revoked a key",
    "session.end": "Ended a session",
    "webhook.change": "Changed a webhook",
    "webhook.delete": "Deleted a webhook",
    "webhook.rotate": "Made a webhook's secret anew",
    "webhook.test": "Tested a webhook",
    "webhook.replay": "Sent a webhook's message again",
    "upload_link.create": "Made an upload link",
    "upload_link.revoke": "Ended an upload link",
    "links.end": "Ended the links to a job",
    "person.block": "Blocked a person",
    "person.unblock": "Let a person in again",
    "job.pin": "Pinned a job",
    "job.unpin": "Took a pin away",
    "backup.take": "Asked for a backup",
    "storage.cool": "Moved originals to the cold place",
    "file.damaged": "Found a stored file damaged",
    "file.unreadable": "Found a stored file that cannot be read",
    "file.sound": "Found a damaged file sound again",
    "storage.delete": "Deleted files by their age",
    "storage.rules": "Set the lifecycle rules of the bucket",
    "storage.keep": "Set how long an owner's files are kept",
    "refused": "Was refused",
}
"""Every act there is, in words."""


@shared_panels
async def show_audit(request: web.Request) -> web.Response:
    """GET /dashboard/audit?cursor=: the latest acts first."""
    selection, cursor = selection_of(request), queries.number_cursor(request)
    found, names = await services(request).database.read(
        _acts(selection, audit.NEWEST if cursor is None else cursor)
    )
    wanted = {name: request.query[name] for name in _FIELDS if request.query.get(name)}
    acts = found[:ACTS]
    context = {
        "acts": [act_row(act, names) for act in acts],
        "cursor": cursor,
        "selected": wanted,
        "kinds": DONE,
        "next_cursor": acts[-1].id if len(found) > ACTS else None,
    }
    return render_panels(request, "audit", context)


def _acts(selection: Selection, before: int) -> Transaction[tuple[list[Act], dict[str, str]]]:
    acts = yield from audit.page(selection, limit=ACTS + 1, before=before)
    people = {act.actor for act in acts}
    people |= {act.subject.removeprefix("owner:") for act in acts}
    people |= {owner for act in acts if (owner := _filter(act).owner)}
    return acts, (yield from keys.names(people))


def act_row(act: Act, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": act.id,
        "at": act.at,
        "who": words.actor(act.actor, names),
        "actor": act.actor,
        "what": DONE.get(act.action, act.action),
        "subject": _subject(act, names),
        "href": _href(act),
        "detail": _detail(act),
        "jobs": act.jobs,
    }


def _href(act: Act) -> str | None:
    """Where what it was done to is shown, as far as that has an address."""
    wanted = _filter(act)
    ids = wanted.ids or act.detail.get("jobIds") or ([act.subject] if is_id(act.subject) else [])
    if len(ids) == 1 and is_id(str(ids[0])) and act.action != "job.delete":
        return f"/dashboard/jobs/{ids[0]}"
    if wanted.fingerprint is not None:
        return f"/dashboard/dead-letters?{urlencode({'fingerprint': wanted.fingerprint})}"
    return None


def _subject(act: Act, names: Mapping[str, str]) -> str:
    kind, _, name = act.subject.partition(":")
    if is_id(act.subject):
        return f"…{act.subject[-8:]}"
    if kind == "type" and name in JobType.__members__:
        return words.sentence(words.KINDS[JobType(name)]).rstrip(".")
    if kind == "owner":
        return names.get(name, name)
    if kind == "key":
        return names.get(act.subject, act.subject)
    if act.action in ("dead_letters.retry", "dead_letters.discard", "dead_letters.stop"):
        return words.sentence(selection(_filter(act), names)).rstrip(".")
    return act.subject


def _filter(act: Act) -> Filter:
    """Which dead letters it was done to; all of them where it does not say."""
    document = dict(act.detail.get("filter") or {})
    for name in ("since", "until"):  # RFC 3339 there; the words for a selection do without
        document.pop(name, None)
    return msgspec.convert(document, Filter)


def _detail(act: Act) -> str:
    if act.action != "pause.set":
        return "in waves" if act.detail.get("staged") else ""
    reason, until = words.plain(str(act.detail.get("reason", ""))), act.detail.get("until")
    lasting = f"for {words.span(seconds_of(until) - act.at)}" if until else "until resumed"
    return f"{lasting}: “{reason}”"
