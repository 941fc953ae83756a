"""Panels that many look at are made once: for all who may do the same, at the same address.

An open page asks for its panels every few seconds (static/panels.js), and to make them takes
10 ms. With 200 open dashboards that would be a whole core; so what was made within the last
second is handed to everybody who asks for it, and whoever asks while it is being made waits for
the same. A page that has them already is told so by their ETag (304).

For pages that look the same to everybody with the same permissions, and no others. Whoever has
just changed something asks with `&fresh=1`, and gets, and leaves to the others, what is so now.
"""

from __future__ import annotations

import asyncio
import functools
import gzip
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import NamedTuple

from aiohttp import hdrs, web

from appliance.permissions import Permission
from appliance.web.services import services, user

FRESH_S = 1.0
MOST = 64
"""Panels that are kept, some 4 MB; those that nobody has asked for longest are forgotten."""

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Key(NamedTuple):
    path: str
    """With its query, which has the filters."""
    permissions: frozenset[Permission]


class Panels(NamedTuple):
    begun_at: float
    """On the monotonic clock: what happened before that is in them."""
    body: bytes
    gzipped: bytes
    etag: str


class SharedPanels:
    def __init__(self) -> None:
        self._made: OrderedDict[Key, Panels] = OrderedDict()
        self._making: dict[Key, asyncio.Task[Panels]] = {}

    async def get(self, key: Key, *, now: float, make: Callable[[], Awaitable[bytes]]) -> Panels:
        """Those that were begun within the last second, else new ones."""
        made = self._made.get(key)
        if made is not None and now - made.begun_at < FRESH_S:
            self._made.move_to_end(key)
            return made
        making = self._making.get(key)
        if making is None:
            making = asyncio.create_task(self._make(key, now, make), name="panels")
            self._making[key] = making
            making.add_done_callback(lambda done: self._forget_making(key, done))
        # Who goes away does not take them from the others.
        return await asyncio.shield(making)

    async def anew(self, key: Key, *, now: float, make: Callable[[], Awaitable[bytes]]) -> Panels:
        """New ones, begun now: those that are being made may be of before a change."""
        return await self._make(key, now, make)

    async def _make(self, key: Key, now: float, make: Callable[[], Awaitable[bytes]]) -> Panels:
        body = await make()
        etag = f'W/"{sha256(body).hexdigest()[:16]}"'  # weak: one for both encodings
        made = Panels(now, body, gzip.compress(body, compresslevel=5), etag)
        known = self._made.get(key)
        if known is None or known.begun_at <= now:
            self._made[key] = made
            self._made.move_to_end(key)
        while len(self._made) > MOST:
            self._made.popitem(last=False)
        return made

    def _forget_making(self, key: Key, done: asyncio.Task[Panels]) -> None:
        del self._making[key]
        if not done.cancelled():
            done.exception()  # told to whoever waits; nobody may


SHARED_PANELS: web.AppKey[SharedPanels] = web.AppKey("shared_panels", SharedPanels)


def shared_panels(handler: Handler) -> Handler:
    """The handler of a page, whose panels are made once for many (`templates.render_panels`)."""

    @functools.wraps(handler)
    async def show(request: web.Request) -> web.Response:
        if request.query.get("fragment") != "panels":
            return await handler(request)

        async def make() -> bytes:
            body = (await handler(request)).body
            assert isinstance(body, bytes)
            return body

        path = str(request.rel_url.without_query_params("fresh"))
        key = Key(path, user(request).permissions)
        panels, now = request.app[SHARED_PANELS], services(request).clock.monotonic()
        get = panels.anew if request.query.get("fresh") == "1" else panels.get
        return _answer(request, await get(key, now=now, make=make))

    return show


def _answer(request: web.Request, panels: Panels) -> web.Response:
    headers = {
        hdrs.CONTENT_TYPE: "text/html; charset=utf-8",
        hdrs.CACHE_CONTROL: "no-store",  # the page itself keeps the ETag
        hdrs.ETAG: panels.etag,
        hdrs.VARY: hdrs.ACCEPT_ENCODING,
    }
    if request.headers.get(hdrs.IF_NONE_MATCH) == panels.etag:
        return web.Response(status=304, headers=headers)
    if "gzip" not in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
        return web.Response(body=panels.body, headers=headers)
    return web.Response(body=panels.gzipped, headers=headers | {hdrs.CONTENT_ENCODING: "gzip"})
