"""What is not even a request: answered as a problem document too, and logged as one line.

aiohttp parses requests below the application, so its middlewares never see one that breaks the
rules of HTTP (two lengths, endless headers, another protocol). By default such a client gets
plain text, and the log a trace that anybody on the network can fill the disk with.
"""

from __future__ import annotations

import structlog
from aiohttp import web

from appliance.errors import ApplianceError, BadRequest
from appliance.web.problems import problem_document
from appliance.web.representation import encode

log = structlog.get_logger()


class _Connection(web.RequestHandler):
    __slots__ = ()

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
            headers={"Server": "upload-appliance", "X-Content-Type-Options": "nosniff"},
        )
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application on connections of ours."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return _Server(
            server.request_handler, request_factory=server.request_factory, **server._kwargs
        )
