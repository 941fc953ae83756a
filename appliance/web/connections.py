"""What happens below the application, before there is a request.

aiohttp parses requests there, so its middlewares never see one that breaks the rules of HTTP (two
lengths, endless headers, another protocol). By default such a client gets plain text, and the log
a trace that anybody on the network can fill the disk with; here it is a problem document and a
line.

Two things keep clients from holding what others need: a head has to be complete in `HEAD_S`, and
one address may have so many connections and no more. A trusted proxy may have any number: it stands
for many. How slowly a body may come is in `bodies`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web

from appliance.errors import ApplianceError, BadRequest, RequestTimeout, TooManyConnections
from appliance.web.clients import Clients, client_of
from appliance.web.problems import problem_document
from appliance.web.proxies import Proxies
from appliance.web.representation import encode

log = structlog.get_logger()

HANDSHAKE_S = 10.0
"""From the begin of a connection to the end of its TLS handshake."""
GOODBYE_S = 5.0
"""How long a closed TLS connection waits for the client's last word."""
HEAD_S = 30.0
"""From the begin of a connection, or the first byte of a later request on it, to the end of the
head. How long it may be idle in between is the keep-alive timeout."""


class _Connection(web.RequestHandler):
    __slots__ = ("_client", "_clients", "_has_begun", "_head_overdue", "_proxies")

    def __init__(
        self, manager: web.Server, clients: Clients, proxies: Proxies, **options: Any
    ) -> None:
        super().__init__(manager, **options)
        self._clients = clients
        self._proxies = proxies
        self._client: str | None = None
        self._head_overdue: asyncio.TimerHandle | None = None
        self._has_begun = False
        """Some of a head has come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        # A socket of this machine has no address.
        if isinstance(peer, tuple) and not self._proxies.trust(peer[0]):
            client = client_of(peer[0])
            if not self._clients.enter(client):
                if self._clients.is_news(client):
                    log.warning("connections_refused", client=client)
                self._end(TooManyConnections("Close some of them, or let them be used again."))
                return
            self._client = client
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._head_came()
        if self._client is not None:
            self._clients.leave(self._client)
            self._client = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        requests = self._request_count
        super().data_received(data)
        if self._request_count != requests:
            self._head_came()
        elif data and (self._head_overdue is not None or self._is_idle()):
            self._has_begun = True
            self._expect_head()

    def _is_idle(self) -> bool:
        """Whether it waits for a request."""
        return self._waiter is not None and not self._waiter.done()

    def _expect_head(self) -> None:
        if self._head_overdue is None:
            self._head_overdue = self._loop.call_later(HEAD_S, self._give_up)

    def _head_came(self) -> None:
        self._has_begun = False
        if self._head_overdue is not None:
            self._head_overdue.cancel()
            self._head_overdue = None

    def _give_up(self) -> None:
        self._head_overdue = None
        if not self._is_idle():
            return
        if not self._has_begun:
            self.force_close()
            return
        peer = self.peername
        log.info("request_overdue", remote=peer[0] if isinstance(peer, tuple) else None)
        self._end(RequestTimeout(f"The head of the request was not complete within {HEAD_S:g} s."))

    def _end(self, error: ApplianceError) -> None:
        """Say why, and close."""
        if self.transport is not None:
            body = encode(problem_document(error))
            lines = [
                f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
                "Content-Type: application/problem+json",
                f"Content-Length: {len(body)}",
                "Connection: close",
                *(f"{name}: {value}" for name, value in _HEADERS.items()),
            ]
            self.transport.write("\r\n".join([*lines, "", ""]).encode("ascii") + body)
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The last answer on this connection. Raises ConnectionError where one has begun."""
        if isinstance(exc, ConnectionError):
            raise exc  # the client is gone: nobody to answer, and nothing that is wrong here
        if status == 400:
            # After the colon stands what the client sent: a key perhaps.
            reason = (message or "It breaks the rules of HTTP").partition(":")[0].strip()
            log.info("request_unreadable", reason=reason, remote=request.remote)
            error: ApplianceError = BadRequest(f"{reason.rstrip('.')}.")
        else:
            log.error("request_failed", remote=request.remote, exc_info=exc)
            error = ApplianceError()
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        response = web.Response(
            body=encode(problem_document(error)),
            status=error.status,
            content_type="application/problem+json",
            headers=_HEADERS,
        )
        response.force_close()
        return response


_HEADERS = {"Server": "upload-appliance", "X-Content-Type-Options": "nosniff"}


class _Server(web.Server):
    clients: Clients
    proxies: Proxies

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self.clients, self.proxies, loop=self._loop, **self._kwargs)


def _seen_through(proxies: Proxies, make_request: Callable[..., Any]) -> Callable[..., Any]:
    """`make_request`, with the client's address as `remote` where a trusted proxy tells it.

    Before anybody has seen the request, so that log, guesses and sessions all mean the same.
    """

    def made(*parts: Any) -> Any:
        request = make_request(*parts)
        if not proxies.trust(request.remote) or not request.headers:
            return request  # one that could not be read has no headers, as a plain dict
        told = request.headers.getall("X-Forwarded-For", ())
        return request.clone(remote=proxies.client_behind(request.remote, told))

    return made


class Site(web.SockSite):
    """Gives up clients that are silent in a handshake: aiohttp leaves them asyncio's 60 s."""

    async def start(self) -> None:
        await web.BaseSite.start(self)
        server = self._runner.server
        assert server is not None
        secured = self._ssl_context is not None
        self._server = await asyncio.get_running_loop().create_server(
            server,
            sock=self._sock,
            ssl=self._ssl_context,
            backlog=self._backlog,
            ssl_handshake_timeout=HANDSHAKE_S if secured else None,
            ssl_shutdown_timeout=GOODBYE_S if secured else None,
        )


class Runner(web.AppRunner):
    """Runs an application on connections of ours."""

    def __init__(
        self,
        app: web.Application,
        *,
        max_connections_per_client: int,
        proxies: Proxies,
        **options: Any,
    ) -> None:
        super().__init__(app, **options)
        self._proxies = proxies
        self._clients = Clients(max_connections_per_client)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        factory: Any = made.request_factory
        if self._proxies:
            factory = _seen_through(self._proxies, factory)
        server = _Server(made.request_handler, request_factory=factory, **made._kwargs)
        server.clients = self._clients
        server.proxies = self._proxies
        return server
