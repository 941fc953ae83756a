"""What two servers in a row might read in two ways is refused, and nothing behind it is read.

The attacks are those of RFC 9112, 11.2 and of the request-smuggling literature (CL.CL, CL.TE,
TE.TE, chunk sizes and line ends). Behind each stands a second request, whose answer must not come.
"""

from __future__ import annotations

import pytest

from tests.conftest import Serve, Served
from tests.web.wire import BEARER, is_refusal, left_nothing, wire

SMUGGLED = (
    f"PUT /upload/smuggled.txt HTTP/1.1\r\nHost: t\r\n{BEARER}\r\nContent-Length: 5\r\n\r\nwords"
)
PUT = f"PUT /upload/a.txt HTTP/1.1\r\nHost: t\r\n{BEARER}\r\n"
GET = "GET /healthz HTTP/1.1\r\nHost: t\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"
NONE = "0\r\n\r\n"

LENGTHS = {
    "two": "Content-Length: 5\r\nContent-Length: 0\r\n\r\nwords",
    "two that agree": "Content-Length: 5\r\nContent-Length: 5\r\n\r\nwords",
    "a list": "Content-Length: 5, 5\r\n\r\nwords",
    "plus": "Content-Length: +5\r\n\r\nwords",
    "minus": "Content-Length: -5\r\n\r\nwords",
    "hexadecimal": "Content-Length: 0x5\r\n\r\nwords",
    "underscore": "Content-Length: 0_5\r\n\r\nwords",
    "empty": "Content-Length: \r\n\r\n",
    "overflow": f"Content-Length: {2**64 + 5}\r\n\r\nwords",
    "space before the colon": "Content-Length : 5\r\n\r\nwords",
}
ENCODINGS = {
    "length first": f"Content-Length: 5\r\n{CHUNKED}\r\n{NONE}",
    "length last": f"{CHUNKED}Content-Length: 5\r\n\r\n{NONE}",
    "twice": f"{CHUNKED}{CHUNKED}\r\n{NONE}",
    "a list": f"Transfer-Encoding: chunked, chunked\r\n\r\n{NONE}",
    "identity": f"Transfer-Encoding: identity\r\n\r\n{NONE}",
    "identity, chunked": f"Transfer-Encoding: identity, chunked\r\n\r\n{NONE}",
    "gzip, chunked": f"Transfer-Encoding: gzip, chunked\r\n\r\n{NONE}",
    "chunked, identity": f"Transfer-Encoding: chunked, identity\r\n\r\n{NONE}",
    "xchunked": f"Transfer-Encoding: xchunked\r\n\r\n{NONE}",
    "vertical tab": f"Transfer-Encoding:\x0bchunked\r\n\r\n{NONE}",
    "quoted": f'Transfer-Encoding: "chunked"\r\n\r\n{NONE}',
    "with a parameter": f"Transfer-Encoding: chunked;q=1\r\n\r\n{NONE}",
    "space before the colon": f"Transfer-Encoding : chunked\r\n\r\n{NONE}",
    "folded": f"Transfer-Encoding:\r\n chunked\r\n\r\n{NONE}",
}
CHUNKS = {
    "0x": "0x5\r\nwords\r\n",
    "plus": "+5\r\nwords\r\n",
    "minus": "-5\r\nwords\r\n",
    "underscore": "0_5\r\nwords\r\n",
    "overflow": "10000000000000005\r\nwords\r\n",
    "no end": "5\r\nwordsX",
    "line feed after the size": "5\nwords\r\n",
    "line feed after the data": "5\r\nwords\n",
    "line feed in an extension": "5;a\nwords\r\n",
    "carriage return in an extension": "5;a\rb\r\nwords\r\n",
    "space before": " 5\r\nwords\r\n",
    "space after": "5 \r\nwords\r\n",
    "no size": "\r\nwords\r\n",
    "line feeds at the end": "5\r\nwords\r\n0\n\n",
    "a length among trailers": "5\r\nwords\r\n0\r\nContent-Length: 50\r\n\r\n",
    "nonsense among trailers": "5\r\nwords\r\n0\r\nnonsense\r\n\r\n",
    "line feeds among trailers": "5\r\nwords\r\n0\r\nA: b\n\n",
}
HEADS = {
    "line feeds only": "GET /healthz HTTP/1.1\nHost: t\n\n",
    "a line feed": "GET /healthz HTTP/1.1\r\nHost: t\nA: b\r\n\r\n",
    "a carriage return": f"{GET}A: b\rC: d\r\n\r\n",
    "two carriage returns": "GET /healthz HTTP/1.1\r\nHost: t\r\r\n\r\n",
    "folded": f"{GET}A: b\r\n c\r\n\r\n",
    "folded at once": "GET /healthz HTTP/1.1\r\n Host: t\r\n\r\n",
    "NUL in a name": f"{GET}A\0: b\r\n\r\n",
    "NUL in a value": f"{GET}A: b\0\r\n\r\n",
    "NUL in the target": "GET /health\0z HTTP/1.1\r\nHost: t\r\n\r\n",
    "HTTP/0.9": "GET /healthz\r\n\r\n",
    "HTTP/1.10": "GET /healthz HTTP/1.10\r\nHost: t\r\n\r\n",
    "no host": "GET /healthz HTTP/1.1\r\n\r\n",
    "two hosts": f"{GET}Host: u\r\n\r\n",
    "a list of hosts": "GET /healthz HTTP/1.1\r\nHost: t, u\r\n\r\n",
    "no name as host": "GET /healthz HTTP/1.1\r\nHost: \r\n\r\n",
    "a user as host": "GET /healthz HTTP/1.1\r\nHost: a@t\r\n\r\n",
    "a path as host": "GET /healthz HTTP/1.1\r\nHost: t/healthz\r\n\r\n",
    "a target elsewhere": "GET http://u/healthz HTTP/1.1\r\nHost: t\r\n\r\n",
    "a tunnel": "CONNECT t:80 HTTP/1.1\r\nHost: t:80\r\n\r\n",
}
ATTACKS = {
    **{f"length, {name}": PUT + rest for name, rest in LENGTHS.items()},
    **{f"encoding, {name}": PUT + rest for name, rest in ENCODINGS.items()},
    **{f"chunk, {name}": f"{PUT}{CHUNKED}\r\n{rest}" for name, rest in CHUNKS.items()},
    **{f"head, {name}": head for name, head in HEADS.items()},
}


async def test_nothing_is_smuggled(serve: Serve) -> None:
    """One answer, 400, and the connection is closed: what stands behind is not carried out."""
    served = await serve()
    for name, attack in ATTACKS.items():
        async with wire(served) as connection:
            await connection.send(attack.encode("latin-1") + SMUGGLED.encode())
            is_refusal(await connection.answer(), 400, "bad_request")
            assert await connection.closed() == b"", name
    await left_nothing(served)


@pytest.mark.parametrize(
    "body",
    [
        "5;a=b\r\nwords\r\n0\r\n\r\n",
        "5;" + "a" * 10_000 + "\r\nwords\r\n0\r\n\r\n",
        "5\r\nwords\r\n0\r\nA: b\r\n\r\n",
    ],
    ids=["extension", "long extension", "trailer"],
)
async def test_chunks_that_are_odd_but_right_are_read(serve: Serve, body: str) -> None:
    """And the request behind them is a request of its own."""
    served = await serve()
    async with wire(served) as connection:
        await connection.send(f"{PUT}{CHUNKED}\r\n{body}{GET}\r\n".encode())
        assert (await connection.answer()).status == 202
        assert (await connection.answer()).json() == {"status": "ok"}
    assert await sizes(served) == [5]


async def test_a_target_with_its_own_host_is_taken(serve: Serve) -> None:
    served = await serve()
    async with wire(served) as connection:
        await connection.send(b"GET http://t:80/healthz HTTP/1.1\r\nHost: T:80\r\n\r\n")
        assert (await connection.answer()).status == 200


async def test_an_upgrade_is_the_last_request(serve: Serve) -> None:
    """The parser stops at it: what follows would never be answered."""
    served = await serve()
    async with wire(served) as connection:
        upgrade = "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        await connection.send(f"{GET}{upgrade}{SMUGGLED}".encode())
        assert (await connection.answer()).headers["Connection"] == "close"
        assert await connection.closed() == b""
    await left_nothing(served)


async def sizes(served: Served) -> list[int]:
    return [job["sizeBytes"] for job in (await served.json("GET", "/jobs"))["jobs"]]
