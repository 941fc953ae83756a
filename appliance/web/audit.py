"""GET /audit: who has done what, when, and to how many."""

from __future__ import annotations

from aiohttp import web

from appliance.database import audit
from appliance.database.audit import Act
from appliance.web import queries
from appliance.web.documents import ActPage
from appliance.web.representation import act_document, json_response
from appliance.web.services import services


async def list_acts(request: web.Request) -> web.StreamResponse:
    """GET /audit?limit=&cursor=: newest first."""
    page, cursor = await page_of_acts(request)
    return json_response(ActPage(acts=[act_document(act) for act in page], nextCursor=cursor))


async def page_of_acts(request: web.Request) -> tuple[list[Act], str | None]:
    """The page that the query asks for, and the cursor of the next one if there is one."""
    limit, cursor = queries.limit(request), queries.number_cursor(request)
    before = audit.NEWEST if cursor is None else cursor
    found = await services(request).database.read(audit.page(limit=limit + 1, before=before))
    page = found[:limit]
    return page, str(page[-1].id) if len(found) > limit else None
