"""GET /openapi.json and GET /docs: what this server takes and answers, for programs and for people.

Both are for everybody: the software is public, and so is what it speaks. What they are made of is
in `appliance.web.openapi`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from aiohttp import web

from appliance.web import contract_words
from appliance.web.representation import encode, is_known
from appliance.web.services import services
from appliance.web.templates import render_page


@dataclass(frozen=True)
class Contract:
    document: Mapping[str, Any]
    """OpenAPI 3.1."""
    body: bytes
    etag: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Contract:
        body = encode(document)
        return cls(document, body, f'"{sha256(body).hexdigest()[:32]}"')


CONTRACT: web.AppKey[Contract] = web.AppKey("contract", Contract)


async def get_openapi(request: web.Request) -> web.StreamResponse:
    """GET /openapi.json"""
    contract = request.app[CONTRACT]
    headers = {"ETag": contract.etag, "Cache-Control": "no-cache"}
    if is_known(request.headers.get("If-None-Match"), contract.etag):
        return web.Response(status=304, headers=headers)
    response = web.Response(body=contract.body, headers=headers, content_type="application/json")
    response.enable_compression()
    return response


async def show_docs(request: web.Request) -> web.StreamResponse:
    """GET /docs"""
    context = {
        "document": request.app[CONTRACT].document,
        "server": services(request).public_url,
        "told": contract_words,
    }
    return render_page(request, "docs.html", context)
