"""Everything is synced before anybody is told of it; see `trace`, which audits the calls."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path

import aiohttp
import pytest

from tests.torture.conftest import NewServer, Victim
from tests.torture.ledger import Ledger
from tests.torture.load import Load, document, picture, text, video
from tests.torture.trace import Audit, command

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None, reason="needs strace (scripts/services install strace)"
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "strace.log"


def traced(server: Victim, log: Path, *options: str) -> Victim:
    server.command = (*command(log), *Victim.command)
    server.options = options
    return server


async def test_uploads_are_durable_when_they_are_answered(
    victim: NewServer, ledger: Ledger, chance: random.Random, log: Path
) -> None:
    """Without workers, so that only uploads write to the database."""
    server, load = traced(victim(), log, "--no-workers"), Load(ledger)
    await server.start()
    async with aiohttp.ClientSession(server.url, headers=server.headers) as session:
        for samples in ((text(chance),), (picture(), text(chance)), (text(chance),)):
            assert await load.send(session, *samples) == 202
    assert await server.end() == 0
    audit = Audit(server.data_dir, alone=True)
    audit.read(log)
    assert audit.findings == []
    assert audit.answers == len(ledger.promises) == 4


async def test_resumable_uploads_are_durable_as_far_as_their_offset_tells(
    victim: NewServer, log: Path
) -> None:
    server = traced(victim(), log, "--no-workers")
    await server.start()
    tus = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}
    headers = server.headers | tus
    async with aiohttp.ClientSession(server.url, headers=headers) as session:
        for first in (b"", b"one "):
            length = {"Upload-Length": "12"}
            async with session.post("/files", data=first or None, headers=length) as created:
                assert created.status == 201
                where = created.headers["Location"]
            for offset, piece in enumerate((b"one ", b"two ", b"tre ")):
                if piece == first:
                    continue
                at = {"Upload-Offset": str(4 * offset)}
                async with session.patch(where, data=piece, headers=at) as appended:
                    assert appended.status == 204
    assert await server.end() == 0
    audit = Audit(server.data_dir, alone=True)
    audit.read(log)
    assert audit.findings == []
    assert (audit.answers, audit.offsets) == (2, 6)


async def test_results_are_durable_when_they_are_settled(
    victim: NewServer, ledger: Ledger, chance: random.Random, log: Path
) -> None:
    server, load = traced(victim(), log), Load(ledger)
    await server.start()
    async with aiohttp.ClientSession(server.url, headers=server.headers) as session:
        samples = [text(chance), picture(), document(), video()]
        await asyncio.gather(*(load.send(session, sample) for sample in samples))
        for job_id in ledger.promises:
            assert (await server.finished(job_id))["status"] == "COMPLETED"
    assert await server.end() == 0
    audit = Audit(server.data_dir, alone=False)
    audit.read(log)
    assert audit.findings == []
    assert (audit.answers, audit.settlings, audit.shown) == (4, 4, 4)
