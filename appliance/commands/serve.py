"""`appliance serve`: the whole appliance in one process."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import resource
import signal
import sys
import time
from contextlib import AsyncExitStack

from appliance import bootstrap
from appliance.commands.command import Commands
from appliance.config import SETTINGS, Config

KEPT_FREE_BYTES = 8 * 1024**2
"""Of memory that was freed, which the next pieces of a body are read into."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def add_to(commands: Commands) -> None:
    serve = commands.add_parser(
        "serve", help="the whole appliance in one process",
        description="Run the whole appliance in one process: HTTP, queue, workers, maintenance.",
    )  # fmt: skip
    for setting in SETTINGS:
        if setting.secret:
            continue
        default = f" [{setting.default}]" if setting.default else ""
        serve.add_argument(
            f"--{setting.name.replace('_', '-')}",
            metavar="VALUE",
            help=(setting.meaning + default).replace("%", "%%"),
        )
    serve.add_argument("--no-workers", action="store_true", help="be an API server only")
    serve.set_defaults(run=run)


async def run(config: Config, options: argparse.Namespace) -> int:
    _raise_descriptor_limit()
    _keep_freed_memory()
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop.set)
    began = time.monotonic()
    async with AsyncExitStack() as stack:
        running = await bootstrap.start(stack, config, with_workers=not options.no_workers)
        if running.certificates is not None:
            loop.add_signal_handler(signal.SIGHUP, running.certificates.reload)
        _greet(running, config, time.monotonic() - began)
        await asked_to_stop.wait()
        print("Stopping: running jobs may finish …", file=sys.stderr)
    print("Stopped.", file=sys.stderr)
    return 0


def _raise_descriptor_limit() -> None:
    """As many open files and connections as this user may have; shells often start with 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _keep_freed_memory() -> None:
    """Bodies come in pieces of up to 256 KiB. By itself glibc gives each back to the kernel and
    asks for the next one, whose pages are then zeroed anew: a fifth of what a large upload cost.
    Source: mallopt(3). Other libraries than glibc do it in their own way."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, KEPT_FREE_BYTES // 4)
        mallopt(_M_TRIM_THRESHOLD, KEPT_FREE_BYTES)


def _greet(running: bootstrap.Appliance, config: Config, took_s: float) -> None:
    print(f"The appliance listens on {running.url} (ready in {took_s:.1f} s).")
    if running.signin_url:
        print(f"Sign in, once, within a day: {running.signin_url}")
    if config.admin_key is None:
        print(f"The admin key is in {config.data_dir / 'admin.key'}.")
    sys.stdout.flush()
