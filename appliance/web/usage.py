"""GET /usage and /usage/all: what one has here, and how much one may; what everybody has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aiohttp import web

from appliance.database import keys, ownership
from appliance.database.ownership import Taken, TakenInAll
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
    found = await services(request).database.read(_of_all(queries.limit(request)))
    used_by_owner = request.app[USED_BY_OWNER]
    document: AllUsage = {
        "bytes": found.total.size_bytes,
        "files": found.total.files,
        "owners": found.total.owners,
        "largest": [
            {
                "owner": one.owner,
                "name": found.names.get(one.owner),
                "bytes": one.size_bytes,
                "files": one.files,
                "used": [used_document(each) for each in await used_by_owner.of(one.owner)],
            }
            for one in found.largest
        ],
    }
    return json_response(document)


class _OfAll(NamedTuple):
    total: TakenInAll
    largest: Sequence[Taken]
    names: Mapping[str, str]
    """Of the largest, as far as they are known."""


def _of_all(limit: int) -> Transaction[_OfAll]:
    total = yield from ownership.taken_in_all()
    largest = yield from ownership.largest(limit)
    return _OfAll(total, largest, (yield from keys.names(one.owner for one in largest)))
