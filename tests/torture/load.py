"""Several clients at once with files of every kind, who write down what they are promised."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp

from tests import media
from tests.torture.conftest import Victim
from tests.torture.ledger import Ledger

CLIENTS = 4
BACKLOG = 24
"""With more jobs than this not seen COMPLETED, clients wait: every restart begins with these."""


@dataclass(frozen=True)
class Sample:
    filename: str
    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def text(chance: random.Random) -> Sample:
    size = chance.choice((1, 500, 20_000, 300_000))
    return Sample("a.txt", b"text " + os.urandom(size).hex().encode())


def picture() -> Sample:
    """Unlike every other one by a comment after its first marker."""
    jpeg, comment = media.jpeg(320, 240), os.urandom(16)
    return Sample("b.jpg", jpeg[:2] + b"\xff\xfe" + struct.pack(">H", 18) + comment + jpeg[2:])


def document() -> Sample:
    return Sample("c.pdf", media.pdf(1) + b"%" + os.urandom(16).hex().encode() + b"\n")


def video() -> Sample:
    """Unlike every other one by a box that players skip."""
    mp4 = media.mp4(0.4, 160, 90, audio=False)
    return Sample("d.mp4", mp4 + struct.pack(">I4s", 24, b"free") + os.urandom(16))


def any_sample(chance: random.Random) -> Sample:
    kind = chance.random()
    if kind < 0.6:
        return text(chance)
    if kind < 0.88:
        return picture()
    return document() if kind < 0.97 else video()


@dataclass
class Load:
    """Clients that upload, and one that looks at what became of it."""

    ledger: Ledger
    chance: random.Random = field(default_factory=random.Random)
    refusals: list[tuple[int, str]] = field(default_factory=list)
    """Answers other than 202: status and detail."""

    @contextlib.asynccontextmanager
    async def on(self, server: Victim) -> AsyncIterator[None]:
        """Run for as long as the context is open and the server answers."""
        async with aiohttp.ClientSession(server.url, headers=server.headers) as session:
            tasks = [asyncio.create_task(self._upload(session)) for _ in range(CLIENTS)]
            tasks.append(asyncio.create_task(self._watch(session)))
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not _is_gone(result):
                raise result

    async def send(self, session: aiohttp.ClientSession, *samples: Sample) -> int:
        """Upload, one file raw or several as a form; the status of the answer."""
        if len(samples) == 1:
            request = session.put(f"/upload/{samples[0].filename}", data=samples[0].content)
        else:
            form = aiohttp.FormData()
            for sample in samples:
                form.add_field("file", sample.content, filename=sample.filename)
            request = session.post("/upload", data=form)
        async with request as response:
            answer = await response.json()
            if response.status == 202:
                jobs = answer["jobs"] if len(samples) > 1 else [answer]
                for job, sample in zip(jobs, samples, strict=True):
                    self.ledger.promised(job, sample.sha256)
            else:
                self.refusals.append((response.status, answer.get("detail", "")))
            return response.status

    async def _upload(self, session: aiohttp.ClientSession) -> None:
        while True:
            while len(self.ledger.promises) - len(self.ledger.seen) > BACKLOG:
                await asyncio.sleep(0.01)
            several = self.chance.random() < 0.2
            samples = [any_sample(self.chance) for _ in range(3 if several else 1)]
            await self.send(session, *samples)

    async def _watch(self, session: aiohttp.ClientSession) -> None:
        """Look at every job until it is seen COMPLETED, and now and then at one that was."""
        while True:
            new = [job_id for job_id in self.ledger.promises if job_id not in self.ledger.seen]
            old = list(self.ledger.seen)[-200:]
            again = self.chance.sample(old, min(2, len(old)))
            for job_id in new[:BACKLOG] + again:
                async with session.get(f"/status/{job_id}") as response:
                    if response.status == 200:
                        self.ledger.saw(await response.json())
                    elif response.status == 404:
                        raise AssertionError(f"{job_id} was acknowledged and is unknown")
            await asyncio.sleep(0.02)


def _is_gone(error: Exception) -> bool:
    """What a client sees of a killed server."""
    return isinstance(error, aiohttp.ClientError | ConnectionError | TimeoutError)
