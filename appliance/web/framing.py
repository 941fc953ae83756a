"""What aiohttp's parser lets pass, and two servers in a row might read in two ways.

The parser itself refuses two lengths, a length beside `chunked`, bare line feeds, folded lines and
damaged chunks (`tests/web/test_smuggling.py` holds it to that). What is refused here, with the
connection closed so that nothing behind is read as another request:

- a `Transfer-Encoding` that is more than `chunked`: nothing here undoes another one
- a `Host` that is none (RFC 9112, 3.2), or another than that of the target
- a target that is no path, except `OPTIONS *`: this is no proxy
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from appliance.errors import BadRequest

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LAST: web.RequestKey[bool] = web.RequestKey("last", bool)
"""No other request is read on this connection."""

_HOST = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?", re.ASCII)


@web.middleware
async def framing_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Raises BadRequest."""
    fault = _fault(request)
    if fault is not None:
        request[LAST] = True
        raise BadRequest(fault)
    if hdrs.UPGRADE in request.headers:
        request[LAST] = True  # the parser reads nothing after it, so no answer would come
    return await handler(request)


def _fault(request: web.Request) -> str | None:
    encoding = request.headers.get(hdrs.TRANSFER_ENCODING)
    if encoding is not None and encoding.strip().lower() != "chunked":
        return "Of transfer encodings, only `chunked` is known here."
    host = request.headers.get(hdrs.HOST)
    if host is not None and not _HOST.fullmatch(host):
        return "The Host header is not a name or an address, with or without a port."
    target = request._message.path  # request.rel_url has lost scheme and host
    if target.startswith("/") or (target == "*" and request.method == hdrs.METH_OPTIONS):
        return None
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https") or request.method == hdrs.METH_CONNECT:
        return "The target of a request is a path; this is no proxy."
    if host is not None and parts.netloc.lower() != host.lower():
        return "The target of the request and its Host header name two hosts."
    return None
