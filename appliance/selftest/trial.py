"""The self-test from its beginning to its end: a server of its own, and what is done to it.

It tries this machine, this disk and these settings, and neither reads nor locks the data of an
appliance that runs beside it. It knows the server by HTTP and as a process, nothing else.
"""

from __future__ import annotations

import asyncio
import time

from appliance.config import Config
from appliance.jobs import JobType
from appliance.selftest import chaos, disk
from appliance.selftest.client import Client
from appliance.selftest.report import Report
from appliance.selftest.samples import SAMPLES
from appliance.selftest.scratch import scratch
from appliance.selftest.stage import Stage, Tell
from appliance.selftest.traffic import new_mark

EACH = 3
"""Files of each kind, without chaos."""
ROOM_BYTES = 256 * 1024**2
CHAOS_ROOM_BYTES = 2 * 1024**3


async def run(config: Config, *, with_chaos: bool, seconds: float, tell: Tell) -> Report:
    """Raises ConfigurationError when it cannot be tried. Nothing stays, however it ends.

    `seconds` is about what the chaos takes on a quick machine; without it, the most that the
    jobs may.
    """
    began = time.monotonic()
    with scratch(config, room_bytes=CHAOS_ROOM_BYTES if with_chaos else ROOM_BYTES) as places:
        report = Report(directory=str(places.root))
        stage = Stage(config, places, report, tell)
        tell(f"Self-test in {places.root}; your files and your server are left alone.")
        await _examine_disk(stage)
        for job_type in sorted(set(JobType) - stage.job_types):
            report.skipped.append(f"files for {job_type}, as APPLIANCE_WORKERS_{job_type} is 0.")
        async with stage.server() as server, stage.client(server, report.ledger) as client:
            start_s = await server.start()
            tell(f"Server: ready {start_s:.2f} s after its start.")
            if with_chaos:
                await chaos.kill(stage, server, client, seconds=seconds)
                await chaos.stop_in_the_middle(stage, server, client)
                await chaos.damage(stage, client)
            else:
                await _each_kind(stage, client, seconds)
            await stage.stop(server)
        if with_chaos:
            await chaos.fill_a_small_disk(stage, seconds=seconds)
    report.took_s = time.monotonic() - began
    return report


async def _examine_disk(stage: Stage) -> None:
    found = stage.report.disk = await asyncio.to_thread(disk.examine, stage.places.root)
    stage.tell(
        f"Disk: {found.file_system}; a sync takes {found.sync_s * 1e3:.2f} ms (median), "
        f"{found.slowest_sync_s * 1e3:.2f} ms at the longest."
    )


async def _each_kind(stage: Stage, client: Client, seconds: float) -> None:
    samples = [sample for sample in SAMPLES if sample.job_type in stage.job_types]
    names = ", ".join(sample.filename.rpartition(".")[2].upper() for sample in samples)
    stage.tell(f"Uploads: {EACH} files of each kind ({names}) …")
    sent = [
        client.upload(sample.filename, sample.make(new_mark()))
        for sample in samples
        for _ in range(EACH)
    ]
    await asyncio.gather(*sent)
    entries = client.ledger.entries
    if len(entries) < len(sent):
        missing = len(sent) - len(entries)
        stage.report.faults.append(f"{missing} of {len(sent)} good files were not answered 202")
    await stage.settle(client, entries.values(), within_s=seconds)
    stage.tell(f"  {len(entries)} acknowledged; results and originals were read back.")
