"""The four things that happen to a server, and must not harm what it has acknowledged."""

from __future__ import annotations

import asyncio
import time

from appliance.selftest import kills, small_disk
from appliance.selftest.client import Client
from appliance.selftest.damage import flipped
from appliance.selftest.ledger import Ledger
from appliance.selftest.recovery import resumed
from appliance.selftest.scratch import Scratch
from appliance.selftest.server import Server
from appliance.selftest.stage import DRAIN_S, SETTLE_S, Stage
from appliance.selftest.traffic import SLOW, chance, new_mark, steady
from appliance.selftest.verifier import verify

OTHERS_S = 20.0
"""What everything but the killing takes, about."""
LEAST_KILLING_S = 3.0
BUSY_S = 5.0
"""Longest wait for a server that works on something."""


async def kill(stage: Stage, server: Server, client: Client, *, seconds: float) -> None:
    """Uploads go on while children, nurseries and the server are killed; it is up in the end."""
    report, ledger = stage.report, client.ledger
    killing_s = max(LEAST_KILLING_S, seconds - OTHERS_S)
    stage.tell(f"Kills: {killing_s:.0f} s of uploads, while processes are killed at random …")
    async with steady(client, stage.job_types):
        report.strikes = await kills.strike(server, seconds=killing_s, tell=stage.tell)
    stage.tell(f"  {len(ledger.entries)} uploads were acknowledged; they are read back …")
    findings = await stage.settle(client, ledger.entries.values())
    report.resumed = resumed(report.strikes, findings.attempts.values())
    stage.tell(f"  {len(report.strikes)} kills, {len(findings.lost | findings.altered)} lost.")


async def stop_in_the_middle(stage: Stage, server: Server, client: Client) -> None:
    """SIGTERM under uploads and jobs, and another start."""
    report, ledger = stage.report, Ledger()
    stage.tell("Stop: SIGTERM in the middle of uploads and jobs …")
    before, client.ledger = client.ledger, ledger
    slow = [sample for sample in SLOW if sample.job_type in stage.job_types]
    async with steady(client, stage.job_types):
        for sample in slow:
            await client.upload(sample.filename, sample.make(new_mark()))
        await _until_busy(server)
        code = await server.end(drain_s=DRAIN_S)
    if code != 0:
        report.faults.append(f"SIGTERM: the server ended with exit status {code}, not 0")
    await server.start()
    findings = await stage.settle(client, ledger.entries.values())
    outcomes = [one.outcome for told in findings.attempts.values() for one in told]
    report.handed_back = outcomes.count("handed_back")
    for outcome in ("lost", "retry"):
        if count := outcomes.count(outcome):
            report.faults.append(f"SIGTERM: {count} attempts ended as {outcome}, not handed back")
    stage.tell(f"  exit status {code}; {report.handed_back} jobs were handed back.")
    before.add(ledger)
    client.ledger = before


async def _until_busy(server: Server) -> None:
    deadline = time.monotonic() + BUSY_S
    while not server.children() and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def damage(stage: Stage, client: Client) -> None:
    """One bit of one stored file is flipped, found by the verification, and flipped back."""
    entries = list(client.ledger.entries.values())
    entry = chance.choice(entries)
    deadline = time.monotonic() + SETTLE_S
    with flipped(stage.places.storage, entry) as offset:
        stage.tell(f"Damage: a bit of byte {offset} of {entry.filename} is flipped on the disk …")
        found = await verify(client, entries, deadline=deadline, results=False)
    mended = await verify(client, [entry], deadline=deadline, results=False)
    stage.report.damage = (1, len(found.altered & {entry.job_id}))
    stage.tell(f"  {len(found.altered)} of {len(entries)} files read back as altered.")
    if found.altered != {entry.job_id} or not mended.is_good:
        stage.report.faults.append(
            f"Damage: 1 file was damaged, {len(found.altered)} read back as altered, and "
            f"{len(mended.altered)} when it was whole again"
        )


async def fill_a_small_disk(stage: Stage, *, seconds: float) -> None:
    """Fill a disk that has little room, then make room: all that was acknowledged gets done."""
    directory = stage.places.root / "disk"
    directory.mkdir()
    reason = await small_disk.unmountable_because(directory)
    if reason is not None:
        stage.tell(f"Small disk: skipped, because {reason}.")
        stage.report.skipped.append(f"the small disk, because {reason}.")
        return
    size_bytes = small_disk.DISK_BYTES
    stage.tell(f"Small disk: {size_bytes / 1e6:.0f} MB in memory are filled with uploads …")
    within, ledger = Scratch(directory), Ledger()
    async with (
        stage.server(within, size_bytes=size_bytes, APPLIANCE_RESERVE_BYTES="0") as server,
        stage.client(server, ledger) as client,
    ):
        await server.start()
        filling = await small_disk.fill(server, client, directory, seconds=seconds)
        stage.tell(
            f"  {ledger.refused} uploads were refused while it was full; now there is room again …"
        )
        await stage.settle(client, ledger.entries.values())
        await stage.stop(server)
    stage.report.ledger.add(ledger)
    stage.report.faults += [f"Small disk: {fault}" for fault in filling.faults]
    stage.tell(f"  all {len(ledger.entries)} that were acknowledged were read back.")
