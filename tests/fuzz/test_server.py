"""A real server under damaged files: every one is answered, every job ends, nothing is left."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.acceptance.conftest import Server
from tests.acceptance.test_lives import processes_of
from tests.conftest import Report
from tests.fuzz import corpus
from tests.fuzz.conftest import files, is_long
from tests.fuzz.mutations import damaged

CLIENTS = 8
END_S = 1800.0 if is_long() else 120.0


def damaged_files(count: int) -> list[tuple[corpus.Sample, bytes]]:
    made: list[tuple[corpus.Sample, bytes]] = []

    @settings(
        max_examples=count, deadline=None, database=None, phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck), derandomize=not is_long(),
    )  # fmt: skip
    @given(data=st.data())
    def make(data: st.DataObject) -> None:
        sample = data.draw(st.sampled_from(corpus.SAMPLES))
        made.append((sample, data.draw(damaged(sample.make()))))

    make()
    return made


@pytest.mark.timeout(END_S + 60)
async def test_a_server_takes_damaged_files(tmp_path: Path, report: Report) -> None:
    server = Server(tmp_path / "data", workers_image="2", workers_video="2", max_retries="0")
    await server.start()
    try:
        family = processes_of(server)
        statuses, job_ids = await _uploaded(server, damaged_files(files(0.4)))
        assert max(statuses) < 500, statuses
        ends = await _ended(server, job_ids)
        assert sum(ends.values()) == len(job_ids) > 0
        assert {code for code in ends if code in ("internal_error", "processing_failed")} == set()
        assert (await server.request("GET", "/readyz"))["status"] == "ready"
        assert processes_of(server) == family, "nurseries were lost, or children are left"
        await server.emptied("scratch")
    finally:
        code = await server.end()
    assert code == 0
    assert [line for line in server.output if "Traceback" in line or "_broke" in line] == []
    report(
        f"fuzz: server: {sum(statuses.values())} damaged files, "
        f"answers {dict(sorted(statuses.items()))}, jobs {dict(ends.most_common())}"
    )


async def _uploaded(
    server: Server, damaged: list[tuple[corpus.Sample, bytes]]
) -> tuple[Counter[int], list[str]]:
    """The statuses of the answers, and the jobs that were made."""
    statuses: Counter[int] = Counter()
    job_ids: list[str] = []
    left, dice = iter(damaged), random.Random(5)
    headers = {"Authorization": f"Bearer {server.key}"}

    async def client(session: aiohttp.ClientSession) -> None:
        for sample, content in left:
            if dice.random() < 0.5:
                sending = session.put(f"/upload/a.{sample.suffix}", data=content)
            else:
                form = aiohttp.FormData()
                form.add_field("file", content, filename=f"a.{sample.suffix}")
                sending = session.post("/upload", data=form)
            async with sending as response:
                statuses[response.status] += 1
                if response.status == 202:
                    job_ids.append((await response.json())["jobId"])

    async with aiohttp.ClientSession(server.url, headers=headers) as session:
        await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
    return statuses, job_ids


async def _ended(server: Server, job_ids: list[str]) -> Counter[str]:
    """How the jobs end: codes of errors, or COMPLETED."""
    ends: Counter[str] = Counter()
    headers = {"Authorization": f"Bearer {server.key}"}
    async with asyncio.timeout(END_S), aiohttp.ClientSession(server.url, headers=headers) as client:
        for job_id in job_ids:
            while True:
                async with client.get(f"/status/{job_id}", params={"wait": "30"}) as response:
                    job = await response.json()
                if job["status"] in ("COMPLETED", "FAILED"):
                    break
            ends[job["error"]["code"] if job["error"] else "COMPLETED"] += 1
    return ends
