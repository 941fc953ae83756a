"""EIO: the disk fails now and then, below the libraries (libfiu), at the calls that promise.

Failures are switched on and off while the server runs. `write` fails only where Python itself
called it: the event loop's own wake-ups are writes too, and no disk is behind those.
"""

from __future__ import annotations

import asyncio
import errno
import random
import shutil
from pathlib import Path

import aiohttp
import pytest

from tests.torture.conftest import NewServer, Victim, kills
from tests.torture.ledger import Ledger, inspected, rows_of
from tests.torture.load import Load, any_sample

pytestmark = pytest.mark.skipif(
    shutil.which("fiu-run") is None, reason="needs fiu-run (scripts/services install fiu)"
)

ROUNDS = 40 if kills() else 5
"""Of uploads during each kind of failure; more while chance spares all of them."""

NOW_AND_THEN = f"probability=0.2,failinfo={errno.EIO}"
FAILURES = {
    "files are not synced": f"enable_random name=posix/io/sync/fsync,{NOW_AND_THEN}",
    "the database is not synced": f"enable_random name=posix/io/sync/fdatasync,{NOW_AND_THEN}",
    "the database is not written": f"enable_random name=posix/io/rw/pwrite,{NOW_AND_THEN}",
    "nothing gets its name": f"enable_random name=posix/io/dir/rename,{NOW_AND_THEN}",
    "nothing is written": (
        f"enable_stack_by_name name=posix/io/rw/write,func_name=_Py_write,failinfo={errno.EIO}"
    ),
}


@pytest.mark.timeout(600 if kills() else 120)
async def test_a_failing_disk_refuses_and_loses_nothing(
    victim: NewServer, ledger: Ledger, chance: random.Random, tmp_path: Path
) -> None:
    control = tmp_path / "fiu"
    server, load = victim(), Load(ledger, chance)
    server.command = ("fiu-run", "-x", "-f", str(control), *Victim.command)
    await server.start()
    async with aiohttp.ClientSession(server.url, headers=server.headers) as session:
        for failure, order in FAILURES.items():
            load.refusals.clear()
            await _order(control, server, order)
            for number in range(20 * ROUNDS):
                if number >= ROUNDS and load.refusals:
                    break
                one, *several = (any_sample(chance) for _ in range(3))
                await asyncio.gather(
                    load.send(session, one),
                    load.send(session, *several),
                )
            name = order.partition("name=")[2].partition(",")[0]
            await _order(control, server, f"disable name={name}")
            statuses = {status for status, _ in load.refusals}
            assert statuses <= {503, 507}, (failure, load.refusals)
            assert statuses, f"{failure}, and nobody was told"
            assert await load.send(session, any_sample(chance)) == 202, failure
    assert server.process is not None
    assert server.process.returncode is None
    verdict = await inspected(server.data_dir, ledger)
    assert verdict.faults() == {}
    with rows_of(server.data_dir) as rows:
        assert rows.execute("SELECT max(retry_count) FROM jobs").fetchone()[0] == 0
    assert await server.end() == 0


async def _order(control: Path, server: Victim, order: str) -> None:
    assert server.process is not None
    fiu = await asyncio.create_subprocess_exec(
        "fiu-ctrl", "-f", str(control), "-c", order, str(server.process.pid)
    )
    assert await fiu.wait() == 0
