"""What is not a request, or is more of one than anybody needs, is refused and harms nobody."""

from __future__ import annotations

import os

import pytest
from structlog.testing import capture_logs

from tests.conftest import ADMIN_KEY, Serve, Served
from tests.web.wire import exchange, is_refusal, left_nothing, upload, wire

SECRET = "a-secret-in-a-header"

NO_REQUESTS = [
    b"\x00\x01\x02\x03\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),  # a TLS ClientHello
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / nonsense\r\nHost: test\r\n\r\n",
    b"get / HTTP/1.1\r\nHost: test\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon here\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nBad Name: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\0c\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
]


async def test_what_is_no_request(serve: Serve) -> None:
    served = await serve()
    with capture_logs() as logs:
        for data in NO_REQUESTS:
            async with wire(served) as connection:
                await connection.send(data)
                is_refusal(await connection.answer(), 400, "bad_request")
                assert await connection.closed() == b"", data
    assert [entry["event"] for entry in logs] == ["request_unreadable"] * len(NO_REQUESTS)
    assert not [entry for entry in logs if "exc_info" in entry]
    await alive(served)


@pytest.mark.parametrize(
    "headers",
    [
        ["X-Long: " + "a" * 20_000],
        ["X-Long: " + "a" * 5_000_000],
        ["X" * 20_000 + ": a"],
        [f"X-{number}: a" for number in range(5_000)],
        ["Cookie: " + "; ".join(f"c{number}={'a' * 50}" for number in range(1_000))],
        [f"Authorization: Bearer {SECRET}{'a' * 20_000}"],
    ],
    ids=["long", "very long", "long name", "many", "cookies", "a key"],
)
async def test_header_bombs(serve: Serve, headers: list[str]) -> None:
    served = await serve()
    with capture_logs() as logs:
        async with wire(served) as connection:
            try:
                await connection.head("PUT /upload/a.txt", *headers, "Content-Length: 5")
            except ConnectionError:
                pass  # refused while it was still talking
            else:
                answer = await connection.answer()
                assert SECRET not in str(is_refusal(answer, 400, "bad_request"))
            await connection.closed()
    assert SECRET not in str(logs)
    await alive(served)
    await left_nothing(served)


async def test_endless_addresses(serve: Serve) -> None:
    served = await serve()
    is_refusal(await exchange(served, f"GET /{'a' * 20_000}"), 400, "bad_request")
    is_refusal(await exchange(served, f"GET /jobs?q={'a' * 20_000}"), 400, "bad_request")
    is_refusal(await exchange(served, f"GET /{'a/' * 5_000}"), 404, "not_found")
    is_refusal(await exchange(served, f"GET /jobs?{'q=a&' * 3_000}limit=x"), 400, "bad_request")
    await alive(served)


async def test_a_bomb_holds_no_memory(serve: Serve) -> None:
    """A head is refused at its limit; what follows is not gathered."""
    served = await serve()
    async with wire(served) as connection:
        await connection.send(b"GET / HTTP/1.1\r\nX-Long: ")
        sent = 0
        try:
            while sent < 64 * 1024 * 1024:
                await connection.send(os.urandom(65536).hex().encode())
                sent += 131072
        except ConnectionError:
            pass
        assert sent < 32 * 1024 * 1024  # what fits into the sockets' buffers, and then no more
    await alive(served)


async def test_many_who_misbehave_hinder_nobody(serve: Serve) -> None:
    served = await serve()
    for _ in range(20):
        async with wire(served) as connection:
            await connection.send(b"\x00" * 100)
        async with wire(served) as connection:
            await connection.head("PUT /upload/a.txt", "Content-Length: 1000")
            connection.abort()
    job = await upload(served)
    assert (await served.json("GET", job["statusUrl"]))["filename"] == "a.txt"
    assert len((await served.json("GET", "/jobs"))["jobs"]) == 1


async def alive(served: Served) -> None:
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with served.anonymous.get("/readyz", headers=headers) as response:
        assert response.status == 200
