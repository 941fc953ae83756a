"""What the web tests speak with: bytes on a socket, forms as bytes, and looks at what is left."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
from multidict import CIMultiDict

from appliance.database import jobs
from appliance.ids import new_id
from appliance.jobs import Job, ResultFile
from appliance.notify.announcer import Announcer
from appliance.web.services import Services
from tests.conftest import ADMIN_KEY, Served
from tests.records import FAULT, a_result

BEARER = f"Authorization: Bearer {ADMIN_KEY}"
BOUNDARY = "boundary-of-the-tests"
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
DEADLINE_S = 5.0


# --- forms as bytes ----------------------------------------------------------------------


def part(disposition: str | bytes, data: bytes = b"", *headers: str) -> bytes:
    """One part; `disposition` is what follows `form-data; `."""
    if isinstance(disposition, str):
        disposition = disposition.encode()
    lines = [b"Content-Disposition: form-data; " + disposition, *(h.encode() for h in headers)]
    return b"--%s\r\n%s\r\n\r\n%s\r\n" % (BOUNDARY.encode(), b"\r\n".join(lines), data)


def file_part(filename: str, data: bytes, *headers: str) -> bytes:
    return part(f'name="file"; filename="{filename}"', data, *headers)


def field_part(name: str, value: str | bytes) -> bytes:
    return part(f'name="{name}"', value.encode() if isinstance(value, str) else value)


END = f"--{BOUNDARY}--\r\n".encode()


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + END


# --- bytes on a socket -------------------------------------------------------------------


@dataclass
class Answer:
    status: int
    headers: CIMultiDict[str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection on which a test may misbehave. Every wait has a deadline."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        async with asyncio.timeout(DEADLINE_S):
            await self._writer.drain()

    async def head(self, line: str, *headers: str, key: str | None = BEARER) -> None:
        """Send a request's head, without a body."""
        lines = [f"{line} HTTP/1.1", "Host: test", *([key] if key else []), *headers]
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def answer(self) -> Answer:
        """The next answer, interim ones (100) included."""
        async with asyncio.timeout(DEADLINE_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip("\r\n").split("\r\n")
            headers = CIMultiDict(line.split(": ", 1) for line in lines)
            length = int(headers.get("Content-Length", "0"))
            return Answer(int(first.split()[1]), headers, await self._reader.readexactly(length))

    async def until(self, words: bytes) -> bytes:
        """What comes, up to and with `words`."""
        async with asyncio.timeout(DEADLINE_S):
            return await self._reader.readuntil(words)

    async def closed(self) -> bytes:
        """What still comes until the server closes the connection."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""

    def abort(self) -> None:
        """Go away without a word, as a client that lost its network."""
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@asynccontextmanager
async def wire(served: Served) -> AsyncIterator[Wire]:
    address = urlsplit(served.url)
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
    one = Wire(reader, writer)
    try:
        yield one
    finally:
        await one.close()


async def exchange(served: Served, line: str, *headers: str, body: bytes = b"") -> Answer:
    """One request of exactly these bytes, and its answer."""
    async with wire(served) as connection:
        await connection.head(line, *headers)
        await connection.send(body)
        return await connection.answer()


async def post_form(served: Served, body: bytes, content_type: str = FORM_TYPE) -> Answer:
    length = f"Content-Length: {len(body)}"
    return await exchange(
        served, "POST /upload", f"Content-Type: {content_type}", length, body=body
    )


# --- what must hold of answers ------------------------------------------------------------


async def refused(response: aiohttp.ClientResponse, status: int, code: str) -> Any:
    """The problem document of `response`, which must be this one."""
    assert response.content_type == "application/problem+json", await response.text()
    return problem(response.status, await response.json(content_type=None), status, code)


def is_refusal(answer: Answer, status: int, code: str) -> Any:
    assert answer.headers["Content-Type"] == "application/problem+json", answer.body
    return problem(answer.status, answer.json(), status, code)


def problem(answered: int, document: Any, status: int, code: str) -> Any:
    """Hold a problem document to RFC 9457 and to the contract."""
    assert (answered, document["code"]) == (status, code), document
    assert {"type", "title", "status", "detail", "code"} <= document.keys()
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    told = json.dumps(document)
    for trace in ("Traceback", ".py", "site-packages", "0x"):
        assert trace not in told
    return document


# --- what is left ------------------------------------------------------------------------


def files_of(served: Served) -> set[str]:
    """Every file in the store, by its key."""
    root = served.data_dir / "files"
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return found - {"partial/boot-id"}


async def left_nothing(served: Served) -> None:
    """No file, no directory of a job, no row."""
    await until(lambda: not files_of(served))
    assert not list((served.data_dir / "files" / "raw").iterdir())
    assert (await served.json("GET", "/jobs"))["jobs"] == []


async def until(condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Return once `condition` holds."""
    async with asyncio.timeout(deadline_s):
        while not condition():
            await asyncio.sleep(0.005)


async def redrive_when(served: Served, redrive_id: str, condition: Callable[[Any], object]) -> Any:
    """The redrive once `condition` holds of it; the redriver looks every second."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            redrive = await served.json("GET", f"/redrives/{redrive_id}")
            if condition(redrive):
                return redrive
            await asyncio.sleep(0.05)


async def in_pieces(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """A body that aiohttp sends chunked."""
    for piece in pieces:
        yield piece


# --- jobs without workers ----------------------------------------------------------------


def services_of(served: Served) -> Services:
    return served.running.services


async def copied(served: Served) -> Path:
    """The whole database as it is now, as a file of SQLite."""
    path = served.data_dir.with_name(f"copy-{new_id()}.db")
    await services_of(served).database.copy_to(path)
    return path


async def kept_by(served: Served) -> bytes:
    """Every byte of the database, and of its log where it has one."""
    files = served.data_dir.glob("appliance.db*")
    return b"".join(path.read_bytes() for path in (await copied(served), *files))


async def upload(
    served: Served, data: bytes = b"words", name: str = "a.txt", *, by: Any = None, **query: str
) -> Any:
    """The document of a new job, sent by the admin unless `by` another session."""
    session = by or served.admin
    async with session.post("/upload", params={"filename": name, **query}, data=data) as response:
        assert response.status == 202, await response.text()
        return await response.json()


async def claim(served: Served, job_id: str) -> None:
    shared = services_of(served)
    found = await shared.database.write(jobs.claim(job_id, worker="w", now=shared.clock.now()))
    assert found is not None
    await _announce(shared, found.job)


async def progress(served: Served, job_id: str, fraction: float) -> None:
    shared = services_of(served)
    move = jobs.progress(job_id, attempt=1, fraction=fraction, step="resizing")
    owner = await shared.database.write(move)
    assert owner is not None
    await Announcer(shared.coordination).changed(job_id, owner)


async def publish(
    served: Served, job_id: str, name: str = "thumbnail.webp", data: bytes = b"bytes"
) -> None:
    """Show a result of the first attempt, which goes on."""
    shared = services_of(served)
    file = msgspec.structs.replace(
        a_result(job_id, 1, name), size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
    )
    async with await shared.storage.receive(file.storage_key) as incoming:
        await incoming.write(data)
        await incoming.commit()
    owner = await shared.database.write(jobs.publish(job_id, attempt=1, position=0, file=file))
    assert owner is not None
    await Announcer(shared.coordination).changed(job_id, owner)


async def complete(
    served: Served,
    job_id: str,
    attempt: int = 1,
    *,
    result: Mapping[str, Any] = {},
    files: Sequence[ResultFile] = (),
) -> None:
    shared = services_of(served)
    move = jobs.complete(
        job_id, attempt=attempt, now=shared.clock.now(), result=result, files=files
    )
    await _announce(shared, await shared.database.write(move))


async def fail(served: Served, job_id: str, attempt: int = 1, **changes: Any) -> None:
    """Give the job up, with a dead letter; `changes` are of its error."""
    shared = services_of(served)
    move = jobs.fail(
        job_id,
        attempt=attempt,
        now=shared.clock.now(),
        error=msgspec.structs.replace(FAULT, **changes),
        error_class="ChildCrashed",
        stderr_tail="Segmentation fault",
    )
    await _announce(shared, await shared.database.write(move))


async def failed(served: Served, *, by: Any = None, name: str = "a.txt", **changes: Any) -> str:
    """The id of a new job that was given up."""
    job_id: str = (await upload(served, name=name, by=by))["jobId"]
    await claim(served, job_id)
    await fail(served, job_id, **changes)
    return job_id


async def metrics(served: Served) -> dict[str, float]:
    """GET /metrics: each figure by its name, with its labels."""
    async with served.admin.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    found = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in found}


async def _announce(shared: Services, job: Job | None) -> None:
    assert job is not None
    await Announcer(shared.coordination).job_changed(job)
