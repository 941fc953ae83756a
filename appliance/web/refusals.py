"""Writes to the audit log that somebody asked for an administrative act and may not do it."""

from __future__ import annotations

from aiohttp import web

from appliance.database import audit
from appliance.permissions import OWN, Permission
from appliance.web.services import services, user

QUIET_S = 60.0
"""The same, from the same one, is written once in that time: nobody fills the log that way."""


async def record(request: web.Request, permission: Permission) -> None:
    """Of the signed-in user, who lacks `permission`; nothing where it is about one's own."""
    if permission in OWN:
        return
    shared, owner = services(request), user(request).owner
    resource = request.match_info.route.resource
    assert resource is not None  # who gets here was found a route
    subject = f"{request.method} {resource.canonical}"
    said = f"refused:{owner}:{subject}"
    if await shared.coordination.get(said) is not None:
        return
    await shared.coordination.set(said, b"1", ttl_s=QUIET_S)
    await shared.database.write(
        audit.add(
            actor=owner,
            action="refused",
            subject=subject,
            now=shared.clock.now(),
            detail={"permission": permission, "path": request.path[:200]},
        )
    )
