"""GET /usage and /usage/all: what one has here, and how much one may; what everybody has."""

from __future__ import annotations

from aiohttp import web

from appliance.database import keys, ownership
from appliance.database.protocol import Transaction
from appliance.web import queries
from appliance.web.documents import AllUsage
from appliance.web.representation import json_response, usage_document, used_document
from appliance.web.services import services, user
from appliance.web.used_by_owner import USED_BY_OWNER


async def get_usage(request: web.Request) -> web.StreamResponse:
    """GET /usage: of who asks."""
    shared, owner = services(request), user(request).owner
    standing = await shared.admission.standing(owner)
    used = await request.app[USED_BY_OWNER].of(owner)
    return json_response(usage_document(standing, used, shared.admission.limits))


async def get_usage_of_all(request: web.Request) -> web.StreamResponse:
    """GET /usage/all?limit=: in all, and of those who have the most."""
    limit = queries.limit(request)
    return json_response(await services(request).database.read(_of_all(limit)))


def _of_all(limit: int) -> Transaction[AllUsage]:
    total = yield from ownership.taken_in_all()
    largest = yield from ownership.largest(limit)
    owners = [one.owner for one in largest]
    used = yield from ownership.used_by(owners)
    names = yield from keys.names(owners)
    return {
        "bytes": total.size_bytes,
        "files": total.files,
        "owners": total.owners,
        "largest": [
            {
                "owner": one.owner,
                "name": names.get(one.owner),
                "bytes": one.size_bytes,
                "files": one.files,
                "used": [used_document(each) for each in used if each.owner == one.owner],
            }
            for one in largest
        ],
    }
