"""`make bench` runs all, `make bench ONLY=upload` one. Prints a table, keeps it in bench/results.

Machines differ and file-writing swings between runs: only the ratios of one run count. Rounds
are interleaved (A B A B), the median is told with minimum and maximum.
"""

from __future__ import annotations

import asyncio
import datetime
import importlib.metadata
import os
import platform
import sys
from pathlib import Path

from bench import (
    documents,
    encryption,
    growth,
    images,
    isolation,
    pages,
    queue,
    storage,
    upload,
    videos,
)

BENCHES = {
    "upload": upload.run,
    "queue": queue.run,
    "growth": growth.run,
    "encryption": encryption.run,
    "pages": pages.run,
    "storage": storage.run,
    "isolation": isolation.run,
    "images": images.run,
    "documents": documents.run,
    "videos": videos.run,
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    wanted = sys.argv[1:] or list(BENCHES)
    unknown = [name for name in wanted if name not in BENCHES]
    if unknown:
        sys.exit(f"bench: there is no {unknown[0]!r}; there is: {', '.join(BENCHES)}")
    for name in wanted:
        head = machine()
        text = f"{name}, {head}\n\n{asyncio.run(BENCHES[name]())}\n"
        print(text)
        RESULTS.mkdir(exist_ok=True)
        today = datetime.datetime.now(datetime.UTC).date()
        (RESULTS / f"{today}-{name}.txt").write_text(text)


def machine() -> str:
    versions = ", ".join(
        f"{package} {importlib.metadata.version(package)}" for package in ("aiohttp", "uvloop")
    )
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} cores, "
        f"load before {os.getloadavg()[0]:.1f}, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, {versions}"
    )


main()
