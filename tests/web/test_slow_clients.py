"""Clients that stall, trickle and crowd: they are given up, and others do not notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from appliance.web import bodies, connections, signin
from tests.conftest import Serve, Served
from tests.web.test_partial_upload import (
    DRAFT,
    WHOLE,
    append,
    head,
    length,
    offset_of,
    original,
    partial,
)
from tests.web.wire import (
    BEARER,
    DEADLINE_S,
    Wire,
    files_of,
    is_refusal,
    left_nothing,
    until,
    upload,
    wire,
)

TEXT = b"A text of some words, again and again. " * 500
HALF = b"GET /healthz HTTP/1.1\r\nHost: te"
Patch = pytest.MonkeyPatch


@asynccontextmanager
async def wire_from(served: Served, source: str) -> AsyncIterator[Wire]:
    """A connection from another address of this machine."""
    address = urlsplit(served.url)
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection(
            address.hostname, address.port, local_addr=(source, 0)
        )
    one = Wire(reader, writer)
    try:
        yield one
    finally:
        await one.close()


def passed(seconds: float) -> Callable[[], bool]:
    """The condition that so much time has gone by."""
    now = asyncio.get_running_loop().time
    end = now() + seconds
    return lambda: now() >= end


async def trickle(connection: Wire, data: bytes, every_s: float = 0.01) -> None:
    """One byte after the other, for as long as somebody takes them."""
    try:
        for at in range(len(data)):
            await connection.send(data[at : at + 1])
            await until(passed(every_s))
    except ConnectionError:
        pass


async def ask(connection: Wire, path: str = "/healthz") -> int:
    await connection.head(f"GET {path}")
    return (await connection.answer()).status


# --- heads ----------------------------------------------------------------------------------------


async def test_half_a_head_is_waited_for_and_given_up(serve: Serve, monkeypatch: Patch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    served = await serve()
    async with wire(served) as connection:
        with capture_logs() as logs:
            await connection.send(HALF)
            answer = await connection.answer()
        document = is_refusal(answer, 408, "request_timeout")
        assert "0.2 s" in document["detail"]
        assert answer.headers["Connection"] == "close"
        assert await connection.closed() == b""
    assert [log["event"] for log in logs] == ["request_overdue"]


async def test_a_head_that_trickles_in_is_given_up(serve: Serve, monkeypatch: Patch) -> None:
    """No byte buys more time."""
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    served = await serve()
    async with wire(served) as connection:
        sending = asyncio.create_task(trickle(connection, HALF * 100))
        is_refusal(await connection.answer(), 408, "request_timeout")
        await connection.closed()
        await sending


async def test_a_connection_without_a_word_is_closed(serve: Serve, monkeypatch: Patch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.1)
    served = await serve()
    async with wire(served) as connection:
        assert await connection.closed() == b""


async def test_a_later_head_has_its_own_time(serve: Serve, monkeypatch: Patch) -> None:
    """And none of it runs while nothing is asked."""
    monkeypatch.setattr(connections, "HEAD_S", 0.1)
    served = await serve()
    async with wire(served) as connection:
        for _ in range(2):
            assert await ask(connection) == 200
            await until(passed(0.2))
        assert await ask(connection) == 200
        await connection.send(HALF)
        is_refusal(await connection.answer(), 408, "request_timeout")
        assert await connection.closed() == b""


async def test_a_head_in_pieces_is_one(serve: Serve) -> None:
    served = await serve()
    async with wire(served) as connection:
        for _ in range(2):
            await trickle(connection, HALF + b"st\r\n\r\n", every_s=0.0)
            assert (await connection.answer()).status == 200


async def test_a_request_may_take_longer_than_its_head(serve: Serve, monkeypatch: Patch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.1)
    served = await serve()
    async with wire(served) as connection:
        await connection.head("PUT /upload/a.txt", length(TEXT))
        await connection.send(TEXT[:100])
        await until(passed(0.2))
        await connection.send(TEXT[100:])
        assert (await connection.answer()).status == 202


# --- bodies ---------------------------------------------------------------------------------------


async def test_a_body_that_stalls_is_given_up(serve: Serve, monkeypatch: Patch) -> None:
    monkeypatch.setattr(bodies, "IDLE_S", 0.1)
    served = await serve()
    async with wire(served) as connection:
        await connection.head("PUT /upload/a.txt", length(TEXT))
        await connection.send(TEXT[:100])
        document = is_refusal(await connection.answer(), 408, "request_timeout")
        assert "0.1 s" in document["detail"]
    await left_nothing(served)


async def test_a_body_that_trickles_in_is_given_up(serve: Serve, monkeypatch: Patch) -> None:
    monkeypatch.setattr(bodies, "AVERAGE_S", 0.2)
    served = await serve()
    async with wire(served) as connection:
        await connection.head("PUT /upload/a.txt", length(TEXT))
        sending = asyncio.create_task(trickle(connection, TEXT))
        document = is_refusal(await connection.answer(), 408, "request_timeout")
        assert "1,024 bytes a second" in document["detail"]
        connection.abort()
        await sending
    await left_nothing(served)


async def test_a_body_that_began_fast_is_held_to_the_rate(serve: Serve, monkeypatch: Patch) -> None:
    """What came long ago does not count."""
    monkeypatch.setattr(bodies, "AVERAGE_S", 0.2)
    monkeypatch.setattr(bodies, "LEAST_BYTES_PER_S", 2_000)
    served = await serve()
    async with wire(served) as connection:
        await connection.head("PUT /upload/a.txt", length(TEXT))
        await connection.send(TEXT[:10_000])
        sending = asyncio.create_task(trickle(connection, TEXT[10_000:]))
        is_refusal(await connection.answer(), 408, "request_timeout")
        connection.abort()
        await sending


async def test_a_body_that_is_slow_but_not_too_slow_is_taken(
    serve: Serve, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(bodies, "AVERAGE_S", 0.05)
    monkeypatch.setattr(bodies, "LEAST_BYTES_PER_S", 50)
    served = await serve()
    async with wire(served) as connection:
        await connection.head("PUT /upload/a.txt", length(TEXT))
        for at in range(0, len(TEXT), 1000):
            await connection.send(TEXT[at : at + 1000])
            await until(passed(0.02))
        assert (await connection.answer()).status == 202


async def test_what_came_of_a_slow_upload_is_kept(serve: Serve, monkeypatch: Patch) -> None:
    monkeypatch.setattr(bodies, "AVERAGE_S", 0.2)
    served = await serve()
    async with wire(served) as connection:
        await connection.head("POST /upload?filename=a.txt", DRAFT, WHOLE, length(TEXT))
        location = (await connection.answer()).headers["Location"]
        sending = asyncio.create_task(trickle(connection, TEXT))
        answer = await connection.answer()
        is_refusal(answer, 408, "request_timeout")
        assert answer.headers["Location"] == location
        connection.abort()
        await sending
    offset = await offset_of(served, location)
    assert 0 < offset < len(TEXT)
    assert partial(served, location).read_bytes() == TEXT[:offset]
    assert (await head(served, location)).headers["Upload-Complete"] == "?0"
    assert (await append(served, location, offset, TEXT[offset:])).status == 202
    assert original(served, location) == TEXT


async def test_a_form_that_anybody_may_begin_is_given_up(serve: Serve, monkeypatch: Patch) -> None:
    monkeypatch.setattr(signin, "FORM_S", 0.1)
    served = await serve()
    async with wire(served) as connection:
        form = "Content-Type: application/x-www-form-urlencoded"
        origin = f"Origin: {served.url}"
        lines = ["POST /signin", form, origin, "Content-Length: 100"]
        await connection.head(*lines, key=None)
        await connection.send(b"key=")
        is_refusal(await connection.answer(), 408, "request_timeout")


# --- crowds ---------------------------------------------------------------------------------------


async def test_one_address_has_so_many_connections(serve: Serve) -> None:
    served = await serve(max_connections_per_client="5")
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(wire(served)) for _ in range(5)]
        assert [await ask(one) for one in crowd] == [200] * 5
        with capture_logs() as logs:
            for _ in range(3):
                async with wire(served) as refused:
                    is_refusal(await refused.answer(), 429, "too_many_connections")
                    assert await refused.closed() == b""
        assert [log["event"] for log in logs] == ["connections_refused"]
        async with wire_from(served, "127.0.0.2") as other:
            assert await ask(other) == 200
        assert [await ask(one) for one in crowd] == [200] * 5
        await crowd[0].close()
        crowd[1].abort()
        for _ in range(2):
            await until_taken(served, stack)
        async with wire(served) as refused:
            is_refusal(await refused.answer(), 429, "too_many_connections")


async def until_taken(served: Served, stack: AsyncExitStack) -> None:
    """Once the server has seen that a connection is gone, there is room for another."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            one = await stack.enter_async_context(wire(served))
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                if await ask(one) == 200:
                    return
            await one.close()


async def test_no_limit_is_a_setting_too(serve: Serve) -> None:
    served = await serve(max_connections_per_client="0")
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(wire(served)) for _ in range(250)]
        assert await ask(crowd[-1]) == 200


async def test_others_do_not_notice_a_crowd_that_stalls(serve: Serve, monkeypatch: Patch) -> None:
    """150 connections, each stuck somewhere else; then all of them are given up."""
    served = await serve()
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(wire(served)) for _ in range(150)]
        monkeypatch.setattr(bodies, "IDLE_S", 2.0)
        for number, one in enumerate(crowd):
            if number % 3 == 0:
                await one.send(HALF)
            elif number % 3 == 1:
                await one.head("PUT /upload/a.txt", length(TEXT))
                await one.send(TEXT[:100])
            else:
                await one.head("POST /files?filename=a.txt", WHOLE, DRAFT, length(TEXT), key=BEARER)
                assert (await one.answer()).status == 104
                await one.send(TEXT[:100])
        async with wire_from(served, "127.0.0.2") as good:
            for _ in range(10):
                assert await ask(good) == 200
        for number in range(5):
            job = await upload(served, TEXT, f"{number}.txt")
            assert job["sizeBytes"] == len(TEXT)
        for number, one in enumerate(crowd):
            if number % 3:
                is_refusal(await one.answer(), 408, "request_timeout")
    kept = [name for name in files_of(served) if name.startswith("partial/")]
    assert len(kept) == 50
