"""GET and POST /backups: those that were taken, and taking one now."""

from __future__ import annotations

from aiohttp import web

from appliance.database import backups
from appliance.errors import NoBackupPlace
from appliance.web import forms
from appliance.web.documents import BackupList
from appliance.web.representation import (
    backup_document,
    json_response,
    under_way_document,
)
from appliance.web.services import services, user

KEPT = 100
"""That are recorded."""


async def list_backups(request: web.Request) -> web.StreamResponse:
    """GET /backups: newest first."""
    shared = services(request)
    known = await shared.database.read(backups.latest(KEPT, now=shared.clock.now()))
    under_way = shared.backups.backups.under_way if shared.backups else None
    document: BackupList = {
        "everyS": shared.backup_every_s,
        "underWay": None if under_way is None else under_way_document(under_way),
        "backups": [backup_document(one) for one in known],
    }
    return json_response(document)


async def take_backup(request: web.Request) -> web.StreamResponse:
    """POST /backups: it has begun when this is answered."""
    asked = await forms.read_next(request)
    shared = services(request)
    if shared.backups is None:
        raise NoBackupPlace
    await shared.backups.begin(actor=user(request).owner)
    (begun,) = await shared.database.read(backups.latest(1, now=shared.clock.now()))
    return forms.answer(request, asked, backup_document(begun), status=202)
