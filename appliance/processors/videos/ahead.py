"""Running an iterator ahead of its reader, in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class _End(NamedTuple):
    """The last thing in the queue: the iterator is done, or has raised `error`."""

    error: BaseException | None


@contextmanager
def ahead(items: Iterator[T], depth: int) -> Iterator[Iterator[T]]:
    """The same items in the same order, made up to `depth` ahead by a thread of their own.

    What the iterator raises is raised to the reader, after the items before it. On leaving the
    block, early or not, the thread has ended, so that what `items` reads from may be closed.
    """
    made: queue.Queue[T | _End] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def make() -> None:
        end = _End(None)
        try:
            for item in items:
                if stop.is_set():
                    break
                made.put(item)
        except BaseException as error:  # noqa: BLE001  raised again where the items are read
            end = _End(error)
        made.put(end)

    def read() -> Iterator[T]:
        while True:
            item = made.get()
            if not isinstance(item, _End):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                return

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    try:
        yield read()
    finally:
        stop.set()
        while thread.is_alive():  # a maker that waits for room goes on, and sees `stop`
            try:
                made.get(timeout=0.05)
            except queue.Empty:
                continue
        thread.join()
