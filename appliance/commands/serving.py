"""What the processes that run until they are told to stop have in common."""

from __future__ import annotations

import asyncio
import resource
import signal


def asked_to_stop() -> asyncio.Event:
    """Set by SIGTERM or SIGINT, from now on."""
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, event.set)
    return event


def raise_descriptor_limit() -> None:
    """As many open files and connections as this user may have; shells often start with 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
