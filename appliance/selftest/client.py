"""A client of the server that is tried: it uploads once, and asks until it is answered."""

from __future__ import annotations

import asyncio
import hashlib
import io
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp

from appliance.jobs import JobStatus
from appliance.selftest.ledger import Entry, Ledger
from appliance.selftest.server import Server

ANSWER_S = 30.0
"""Longest wait for one answer."""
AGAIN_S = 0.05
"""Pause before a question that was not answered is asked again."""
POLL_S = 5.0
"""Longest single wait at the server for a job to move on."""

REFUSALS = frozenset({503, 507})


@dataclass(frozen=True)
class Read:
    """A file that was read back."""

    size_bytes: int
    sha256: str


class Client:
    """Reads wait while we have the server down, until the deadline (monotonic): TimeoutError.

    Raises ConfigurationError when it is down by itself.
    """

    def __init__(self, server: Server, key: str, ledger: Ledger) -> None:
        self.server = server
        self.ledger = ledger
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"},
            timeout=aiohttp.ClientTimeout(total=ANSWER_S),
            connector=aiohttp.TCPConnector(limit=0),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def upload(self, filename: str, content: bytes) -> Entry | None:
        """Send it once and note the answer; the entry when that was 202.

        The promise is made by the head of the answer, so it counts although the rest is cut off.
        """
        url = await self.server.wait_up()
        try:
            async with self._session.put(
                f"{url}/upload/{filename}", data=io.BytesIO(content)
            ) as answer:
                if answer.status == 202:
                    job_id = answer.headers["Location"].rpartition("/")[2]
                    return self.ledger.acknowledge(job_id, filename, content)
                if answer.status in REFUSALS:
                    self.ledger.refused += 1
                else:
                    self.ledger.unexpected.append(f"{answer.status} to {filename}")
        except (aiohttp.ClientError, TimeoutError):
            self.ledger.broken_off += 1
        return None

    async def is_answered(self, path: str) -> bool:
        """Whether it is answered 200, now."""
        try:
            async with self._session.get(self.server.url + path) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def json(self, path: str, *, deadline: float) -> Any:
        """None: there is no such thing."""
        async with asyncio.timeout_at(_loop_time(deadline)):
            while True:
                url = await self.server.wait_up()
                try:
                    async with self._session.get(url + path) as answer:
                        if answer.status == 200:
                            return await answer.json()
                        if answer.status not in REFUSALS:
                            return None
                except (aiohttp.ClientError, TimeoutError):
                    self.server.hold_alive()  # killed by us: the next life answers
                await asyncio.sleep(AGAIN_S)

    async def read(self, path: str, *, deadline: float) -> Read | None:
        """Fetch a file and measure it; None: the server has none, or not all of it."""
        async with asyncio.timeout_at(_loop_time(deadline)):
            while True:
                url = await self.server.wait_up()
                try:
                    async with self._session.get(url + path) as answer:
                        if answer.status == 200:
                            return await _measure(answer)
                        if answer.status not in REFUSALS:
                            return None
                except aiohttp.ClientPayloadError:
                    if await self.is_answered("/healthz"):
                        return None  # it lives, and still broke off
                except (aiohttp.ClientError, TimeoutError):
                    self.server.hold_alive()
                await asyncio.sleep(AGAIN_S)

    async def final(self, entry: Entry, *, deadline: float) -> Any:
        """The job once its status is final; None: there is no such job."""
        while True:
            wait_s = max(0.1, min(POLL_S, deadline - time.monotonic()))
            job = await self.json(f"/status/{entry.job_id}?wait={wait_s:.1f}", deadline=deadline)
            if job is None or JobStatus(job["status"]).is_final:
                return job


async def _measure(answer: aiohttp.ClientResponse) -> Read:
    digest, size_bytes = hashlib.sha256(), 0
    async for piece in answer.content.iter_chunked(1 << 18):
        digest.update(piece)
        size_bytes += len(piece)
    return Read(size_bytes, digest.hexdigest())


def _loop_time(deadline: float) -> float:
    return asyncio.get_running_loop().time() + deadline - time.monotonic()
