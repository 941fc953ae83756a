"""GET /openapi.json and GET /docs. That answers are as they say is in tests/contract/answers.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import openapi_spec_validator
import pytest
from aiohttp import web

from appliance.web.openapi.document import GROUPS, PAGES
from appliance.web.routes import ROUTES
from tests.conftest import Serve
from tests.contract.answers import DOCUMENT, Contract
from tests.web.wire import services_of

OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}


def test_it_is_valid() -> None:
    openapi_spec_validator.validate(DOCUMENT)


def test_every_route_is_described_or_a_page() -> None:
    described = [handler for group in GROUPS for handler in group.operations]
    assert len(set(described)) == len(described)
    assert {route.handler for route in ROUTES} == {*described, *PAGES}
    assert not PAGES.intersection(described)


def test_who_may_is_that_of_the_routes() -> None:
    left = dict(OPERATIONS)
    for route in ROUTES:
        if route.handler not in PAGES:
            operation = left.pop(f"{route.method} {route.path}")
            assert operation.get("x-permission") == route.permission
            assert bool(operation["security"]) == (route.permission is not None)
            named = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
            assert named == re.findall(r"\{(\w+)\}", route.path)
    assert not left


async def test_it_is_given_to_everybody_and_known_by_its_etag(serve: Serve) -> None:
    served = await serve()
    async with served.anonymous.get("/openapi.json") as response:
        assert response.content_type == "application/json"
        assert await response.json() == DOCUMENT
        etag = response.headers["ETag"]
    known = {"If-None-Match": etag}
    async with served.anonymous.get("/openapi.json", headers=known) as response:
        assert (response.status, await response.read()) == (304, b"")


async def test_the_page_tells_every_operation_with_this_server_s_address(serve: Serve) -> None:
    served = await serve()
    async with served.anonymous.get("/docs") as response:
        assert response.status == 200
        page = await response.text()
    for methods in DOCUMENT["paths"].values():
        for operation in methods.values():
            assert f'id="{operation["operationId"]}"' in page
    for name in DOCUMENT["components"]["schemas"]:
        assert f'id="{name}"' in page
    assert set(re.findall(r'href="#([\w.-]+)"', page)) <= set(re.findall(r'id="([\w.-]+)"', page))
    address = services_of(served).public_url
    key = "curl -H &#34;Authorization: Bearer $KEY&#34;"
    assert f"{key} &#34;{address}/status/$JOB_ID&#34;" in page
    assert f"{key} -T photo.jpg &#34;{address}/upload/&#34;" in page
    assert "<script src" not in page
    assert "http" not in page.replace(address, "").replace("http://www.w3.org", "")


PAGE: dict[str, Any] = {"acts": [], "nextCursor": None}
PROBLEM = {"type": "about:blank", "title": "t", "status": 403, "detail": "d", "code": "new"}


def refusal(status: int) -> web.Response:
    kind = "application/problem+json"
    return web.json_response(PROBLEM, status=status, content_type=kind)


@pytest.mark.parametrize(
    ("breach", "answer"),
    {
        "answers 203": lambda: web.json_response(PAGE, status=203),
        "answers 404": lambda: refusal(404),
        "'new' is not one of": lambda: refusal(403),
        "'nextCursor' is a required": lambda: web.json_response({"acts": []}),
        "'new' was unexpected": lambda: web.json_response(PAGE | {"new": 1}),
        "text/plain is not among": lambda: web.Response(text="words"),
        "has the header field ETag": lambda: web.json_response(PAGE, headers={"ETag": '"1"'}),
    }.items(),
)
async def test_an_answer_that_is_not_documented_is_seen(
    aiohttp_client: Any, breach: str, answer: Callable[[], web.Response]
) -> None:
    async def list_acts(request: web.Request) -> web.Response:
        request.query.get("limit")
        return answer()

    assert any(breach in found for found in await breaches_of(aiohttp_client, list_acts))


async def test_a_parameter_that_is_not_documented_is_seen(aiohttp_client: Any) -> None:
    async def list_acts(request: web.Request) -> web.Response:
        assert "before" not in request.query
        return web.json_response(PAGE)

    (found,) = await breaches_of(aiohttp_client, list_acts)
    assert "reads the parameter 'before'" in found


async def breaches_of(aiohttp_client: Any, handler: Any) -> list[str]:
    """Those that GET /audit commits when it is answered by `handler`."""
    app, contract = web.Application(), Contract()
    app.router.add_get("/audit", handler)
    contract.watch(app)
    client = await aiohttp_client(app)
    async with client.get("/audit"):
        pass
    return contract.breaches
