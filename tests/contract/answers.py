"""Holds every answer of an appliance under test to what /openapi.json says of it.

`serve` in tests/conftest.py hangs this behind the application, so that all tests of the web are
tests of the contract as well: a status, a content type, a code, a header field, a member or a
parameter of the query that it does not name fails the test that met it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web
from jsonschema import Draft202012Validator
from multidict import MultiMapping

from appliance.web.openapi import fields
from appliance.web.openapi.document import PAGES, of_this_version
from appliance.web.problems import CLIENT_GONE, wants_page

Handler = Any
DOCUMENT: Mapping[str, Any] = json.loads(of_this_version().body)


class Contract:
    def __init__(self) -> None:
        self.breaches: list[str] = []

    def watch(self, app: web.Application) -> None:
        app.middlewares.append(self._note_query)
        app.on_response_prepare.append(self._check)

    @web.middleware
    async def _note_query(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        operation = operation_of(request)
        if operation is not None:
            asked = Asked(request.query)
            request._cache["query"] = asked  # where `request.query` keeps what it has read
            try:
                return await handler(request)
            finally:
                named = {one["name"] for one in operation["parameters"] if one["in"] == "query"}
                for name in asked.names - named:
                    self._breach(request, f"reads the parameter {name!r}, which is not documented")
        return await handler(request)

    async def _check(self, request: web.Request, response: web.StreamResponse) -> None:
        operation = operation_of(request)
        if operation is None or wants_page(request) or response.status == CLIENT_GONE:
            return
        documented = operation["responses"].get(str(response.status))
        if documented is None:
            self._breach(request, f"answers {response.status}: {told(response)}")
            return
        known = {*documented["headers"], *ANYWHERE}
        if response.status >= 400:
            known |= OF_REFUSALS
        for name in fields.ANSWERED:
            if name in response.headers and name not in known:
                self._breach(request, f"{response.status} has the header field {name}")
        for fault in faults_of_body(request, response, documented):
            self._breach(request, f"{response.status}: {fault}")

    def _breach(self, request: web.Request, what: str) -> None:
        self.breaches.append(f"{request.method} {request.path}: {what}")


ANYWHERE = {"Cache-Control", "Tus-Resumable", "Upload-Limit", "Upload-Complete"}
OF_REFUSALS = {"RateLimit", "RateLimit-Policy", "Location", "Upload-Offset", "Upload-Length"}
"""Header fields of resumable uploads that any answer may have; the group's description tells."""


class Asked(MultiMapping[str]):
    """A query that knows what it was asked for."""

    def __init__(self, query: MultiMapping[str]) -> None:
        self._query = query
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self._query[name]

    def getone(self, key: str, *default: Any) -> Any:
        self.names.add(key)
        return self._query.getone(key, *default)

    def getall(self, key: str, *default: Any) -> Any:
        self.names.add(key)
        return self._query.getall(key, *default)

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return name in self._query

    def __iter__(self) -> Iterator[str]:
        return iter(self._query)

    def __len__(self) -> int:
        return len(self._query)


def operation_of(request: web.Request) -> Any:
    """What the document says of the request; None for pages, and where there is no route."""
    resource = request.match_info.route.resource
    if resource is None or request.match_info.handler in PAGES:
        return None
    methods = DOCUMENT["paths"].get(resource.canonical, {})
    method = request.method.lower()
    return methods.get(method) or (methods.get("get") if method == "head" else None)


def faults_of_body(
    request: web.Request, response: web.StreamResponse, documented: Mapping[str, Any]
) -> Iterator[str]:
    content = documented.get("content", {})
    length = response.body_length if response.prepared else response.content_length
    if request.method == "HEAD" or (not content and not length):
        return
    if response.content_type not in content and "*/*" not in content:
        yield f"{response.content_type} is not among {', '.join(content) or 'no content'}"
    elif response.content_type.endswith("json") and isinstance(response, web.Response):
        body = response.body
        assert isinstance(body, bytes)
        schema = json.dumps(content[response.content_type]["schema"])
        for error in validator(schema).iter_errors(json.loads(body)):
            yield f"{error.json_path}: {error.message[:300]}"


@functools.cache
def validator(schema: str) -> Draft202012Validator:
    """Stricter than the document: a member that it does not name is a fault."""
    components = json.loads(json.dumps(DOCUMENT["components"]))
    for name, one in components["schemas"].items():
        if name != "Problem" and "properties" in one:
            one["additionalProperties"] = False
    return Draft202012Validator({**json.loads(schema), "components": components})


def told(response: web.StreamResponse) -> str:
    body = response.body if isinstance(response, web.Response) else None
    return body[:300].decode(errors="replace") if isinstance(body, bytes) else "no body"
