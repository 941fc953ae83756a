"""The pipe on which a child reports."""

from __future__ import annotations

import asyncio
import os
import threading

import uvloop

from appliance.workers.reports import report_pipe


async def test_reads_what_there_is_and_then_the_end() -> None:
    read_fd, write_fd = os.pipe()
    with report_pipe(read_fd) as pipe:
        reading = asyncio.create_task(pipe.read(100))
        await asyncio.sleep(0)
        assert not reading.done()
        os.write(write_fd, b"progress\n")
        assert await reading == b"progress\n"
        os.close(write_fd)
        assert await pipe.read(100) == b""


def test_closing_takes_no_other_descriptor_with_it() -> None:
    """Under uvloop a closed pipe transport closed its number twice: the second time it could be
    that of a file which a thread had just opened, such as somebody's upload."""
    over = threading.Event()
    robbed: list[OSError] = []

    def open_and_close() -> None:
        while not over.is_set():
            fd = os.open(os.devnull, os.O_WRONLY)
            try:
                os.write(fd, b"upload")
                os.close(fd)
            except OSError as error:
                robbed.append(error)

    async def read_many_pipes() -> None:
        for _ in range(1000):
            read_fd, write_fd = os.pipe()
            os.close(write_fd)
            with report_pipe(read_fd) as pipe:
                assert await pipe.read(100) == b""

    threads = [threading.Thread(target=open_and_close) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        uvloop.run(read_many_pipes())
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert robbed == []
