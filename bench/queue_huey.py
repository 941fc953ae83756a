"""huey on SQLite with fsync, threads as producers and workers: the contestant of `bench.queue`.

    python -m bench.queue_huey FILE

As its documentation has it, with one change in its favour: an idle worker looks again after 1 ms,
not 100, so that none of them sleeps through a round. huey takes a task off the queue when a worker
gets it: one that returns nothing leaves no trace of its end, and is lost when its worker dies. Only
with a result is its completion recorded, so both are measured.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from huey import SqliteHuey
from huey.api import Task
from huey.signals import SIGNAL_COMPLETE

huey = SqliteHuey(filename=sys.argv[1], fsync=True)
done = threading.Semaphore(0)


@huey.task()
def nothing() -> None:
    done.release()


@huey.task()
def nothing_recorded() -> bool:
    return True


@huey.signal(SIGNAL_COMPLETE)
def recorded(_signal: str, task: Task) -> None:
    """Sent when the result is stored."""
    if isinstance(task, nothing_recorded.task_class):
        done.release()


def main() -> None:
    consumer = None
    workers = 0
    for line in sys.stdin:
        order = json.loads(line)
        if order["consumers"] != workers:
            if consumer is not None:
                consumer.stop(graceful=True)
            workers = order["consumers"]
            consumer = huey.create_consumer(
                workers=workers, initial_delay=0.001, max_delay=0.01, periodic=False
            )
            consumer.start()
        task = nothing_recorded if order["recorded"] else nothing
        took_s = play(task, order["jobs"], order["producers"])
        print(json.dumps({"took_s": took_s}), flush=True)
    if consumer is not None:
        consumer.stop(graceful=True)


def play(task: Callable[[], object], jobs: int, producers: int) -> float:
    left = iter(range(jobs))
    lock = threading.Lock()

    def produce() -> None:
        while True:
            with lock:
                if next(left, None) is None:
                    return
            task()

    with ThreadPoolExecutor(producers) as pool:
        began = time.perf_counter()
        for _ in range(producers):
            pool.submit(produce)
        for _ in range(jobs):
            done.acquire()
        return time.perf_counter() - began


main()
