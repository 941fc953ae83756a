"""procrastinate on PostgreSQL, coroutines as producers: the contestant of `bench.queue`.

    python -m bench.queue_procrastinate URL

One process with one asynchronous worker, a connection for everybody, LISTEN and NOTIFY on, as
its documentation has it. Its tables are made anew in a schema of the bench's own. A round ends
with the last task, before its row is settled: a moment in its favour.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import AsyncIterator

import psycopg
from procrastinate import App, PsycopgConnector

SCHEMA = "bench_procrastinate"


async def main(url: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
        await connection.execute(f"CREATE SCHEMA {SCHEMA}")
        row = await (await connection.execute("SHOW fsync")).fetchone()
        assert row == ("on",), "PostgreSQL does not sync"
    app = App(
        connector=PsycopgConnector(
            conninfo=url,
            kwargs={"options": f"-c search_path={SCHEMA}"},
            min_size=10,
            max_size=80,
        )
    )
    done = asyncio.Semaphore(0)

    @app.task
    async def nothing() -> None:
        done.release()

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            async with working(app, order["consumers"]):
                began = time.perf_counter()
                left = iter(range(order["jobs"]))

                async def produce() -> None:
                    for _ in left:  # noqa: B023
                        await nothing.defer_async()

                await asyncio.gather(*(produce() for _ in range(order["producers"])))
                for _ in range(order["jobs"]):
                    await done.acquire()
                took_s = time.perf_counter() - began
            print(json.dumps({"took_s": took_s}), flush=True)


@contextlib.asynccontextmanager
async def working(app: App, concurrency: int) -> AsyncIterator[None]:
    worker = asyncio.create_task(
        app.run_worker_async(concurrency=concurrency, install_signal_handlers=False)
    )
    await asyncio.sleep(0.5)  # until it listens
    yield
    worker.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await worker


logging.disable(logging.WARNING)  # that the App is made in the main module, which is meant
asyncio.run(main(sys.argv[1]))
