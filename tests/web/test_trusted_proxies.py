"""Who a request comes from: told by trusted proxies, and by nobody else."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from appliance.setting_values import parse_networks
from appliance.web.guesses import WRONG
from appliance.web.proxies import Proxies
from tests.conftest import Serve, Served
from tests.web.test_slow_clients import ask, wire_from
from tests.web.wire import exchange, is_refusal, wire

CLIENT = "203.0.113.7"


@pytest.mark.parametrize(
    ("told", "client"),
    [
        ([], "10.0.0.1"),
        ([CLIENT], CLIENT),
        ([f"6.6.6.6, {CLIENT}"], CLIENT),
        (["6.6.6.6", CLIENT], CLIENT),
        ([f"6.6.6.6, {CLIENT}, 10.0.0.2"], CLIENT),
        ([f"{CLIENT}, 10.0.0.3, 10.0.0.2"], CLIENT),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ([f"{CLIENT}:4711"], CLIENT),
        (["[2001:db8::1]:443"], "2001:db8::1"),
        (["2001:DB8:0::1"], "2001:db8::1"),
        ([f"::ffff:{CLIENT}"], CLIENT),
        (["::ffff:10.0.0.2"], "10.0.0.2"),
        (["unknown"], "10.0.0.1"),
        (["6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2"),
        (["6.6.6.6, "], "10.0.0.1"),
        (["a\nforged line"], "10.0.0.1"),
    ],
)
def test_the_rightmost_that_is_no_proxy_is_the_client(told: list[str], client: str) -> None:
    proxies = Proxies(parse_networks("10.0.0.0/24, fd00::/8"))
    assert proxies.client_behind("10.0.0.1", told) == client


async def test_what_a_trusted_proxy_tells_is_believed(serve: Serve) -> None:
    served = await serve(trusted_proxies="127.0.0.2,10.0.0.0/8")
    forwarded = f"X-Forwarded-For: 6.6.6.6, {CLIENT}, 10.1.2.3"
    assert await remote(served, "127.0.0.2", forwarded) == CLIENT
    assert await remote(served, "127.0.0.2") == "127.0.0.2"
    assert await remote(served, "127.0.0.1", forwarded) == "127.0.0.1"  # forged
    others = [f"X-Real-IP: {CLIENT}", f"Forwarded: for={CLIENT}", f"X-Client-IP: {CLIENT}"]
    assert await remote(served, "127.0.0.2", *others) == "127.0.0.2"


async def test_nobody_is_believed_unless_it_is_set(serve: Serve) -> None:
    served = await serve()
    assert await remote(served, "127.0.0.1", f"X-Forwarded-For: {CLIENT}") == "127.0.0.1"


async def test_guesses_are_counted_for_each_client_of_a_proxy(serve: Serve) -> None:
    served = await serve(trusted_proxies="127.0.0.1")
    for number in range(WRONG.count):
        is_refusal(await guess(served, number, CLIENT), 401, "not_signed_in")
    assert (await guess(served, 98, CLIENT)).status == 429
    assert (await guess(served, 99, f"6.6.6.6, {CLIENT}")).status == 429  # and a forged one
    assert (await guess(served, 100, "203.0.113.8")).status == 401


async def test_a_proxy_may_have_any_number_of_connections(serve: Serve) -> None:
    served = await serve(trusted_proxies="127.0.0.2", max_connections_per_client="3")
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(wire_from(served, "127.0.0.2")) for _ in range(9)]
        assert [await ask(one) for one in crowd] == [200] * 9
        own = [await stack.enter_async_context(wire(served)) for _ in range(3)]
        assert [await ask(one) for one in own] == [200] * 3
        async with wire(served) as refused:
            is_refusal(await refused.answer(), 429, "too_many_connections")


async def test_scheme_and_host_are_told_by_the_setting_alone(serve: Serve) -> None:
    """Else whoever gets a header through the proxy would choose what counts as the same origin."""
    served = await serve(trusted_proxies="127.0.0.1")
    told = ["X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https"]
    form = "Content-Type: application/x-www-form-urlencoded"
    answer = await exchange(
        served, "POST /signin", *told, form, "Origin: http://evil.example", "Content-Length: 0"
    )
    is_refusal(answer, 403, "forbidden")
    assert "Strict-Transport-Security" not in answer.headers


async def test_what_is_no_request_is_refused_by_way_of_a_proxy_too(serve: Serve) -> None:
    served = await serve(trusted_proxies="127.0.0.1")
    async with wire(served) as connection:
        await connection.send(b"GET / nonsense\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
        is_refusal(await connection.answer(), 400, "bad_request")
        assert await connection.closed() == b""


async def remote(served: Served, source: str, *headers: str) -> Any:
    """From where the log says that such a request came."""
    with capture_logs() as logs:
        async with wire_from(served, source) as connection:
            await connection.head("GET /jobs", *headers)
            assert (await connection.answer()).status == 200
    return next(entry["remote"] for entry in logs if entry["event"] == "request")


async def guess(served: Served, number: int, forwarded_for: str) -> Any:
    """A wrong key, of a beginning of its own."""
    async with wire(served) as connection:
        key = f"Authorization: Bearer {number:03}-wrong-key-0123456789abcdef"
        await connection.head("GET /jobs", f"X-Forwarded-For: {forwarded_for}", key=key)
        return await connection.answer()
