"""The messenger that knows more than a hundred services, by way of the library Apprise.

Only the program that sends (`courier`) loads the library, never the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import structlog

from appliance.errors import ConfigurationError
from appliance.notify.operators import Message

log = structlog.get_logger()

DEADLINE_S = 30.0
_ENVIRONMENT = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "requests_ca_bundle")
"""Variables that say how to reach the receivers; nothing else of our environment is passed on."""


class Order(msgspec.Struct, frozen=True):
    receiver: int
    url: str
    message: Message | None
    """None: only see whether Apprise understands the URL."""


class AppriseMessenger:
    def __init__(self, urls: Sequence[str], *, deadline_s: float = DEADLINE_S) -> None:
        self._urls = urls
        self._deadline_s = deadline_s
        self.receivers = tuple(urlsplit(url).scheme for url in urls)

    async def check(self) -> None:
        """Send nothing. Raises ConfigurationError when the library is missing, or does not
        understand a URL."""
        if importlib.util.find_spec("apprise") is None:
            raise ConfigurationError(
                [
                    "APPLIANCE_NOTIFY_URLS: the library that sends is not there. Install "
                    "upload-appliance[notify], or leave the setting unset."
                ]
            )
        orders = [Order(number, url, None) for number, url in enumerate(self._urls)]
        understood, ended_well = await self._run(orders)
        if not ended_well:
            log.warning("notify_urls_unchecked")  # a slow machine is no fault of the setting
            return
        faults = [
            f"APPLIANCE_NOTIFY_URLS: Apprise does not understand URL {number + 1} of "
            f"{len(self._urls)} ({service}://…). Compare it with those at "
            "https://github.com/caronc/apprise/wiki."
            for number, service in enumerate(self.receivers)
            if number not in understood
        ]
        if faults:
            raise ConfigurationError(faults)

    async def deliver(self, messages: Mapping[int, Message]) -> set[int]:
        orders = [Order(number, self._urls[number], text) for number, text in messages.items()]
        took, _ = await self._run(orders)
        return took

    async def _run(self, orders: list[Order]) -> tuple[set[int], bool]:
        """The receivers where it went well, and whether the program came to its end."""
        went_well: set[int] = set()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # what lies in the working directory is never imported
                *("-m", "appliance.notify.courier"),
                stdin=PIPE,  # what is on the command line, everybody can read
                stdout=PIPE,
                stderr=DEVNULL,  # Apprise's log names addresses
                env=_environment(),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            log.warning("courier_not_started", reason=error.strerror)
            return went_well, False
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(self._deadline_s):
                process.stdin.write(msgspec.json.encode(orders))
                process.stdin.close()
                async for line in process.stdout:
                    if line.strip().isdigit():  # else a word of some plugin
                        went_well.add(int(line))
                return went_well, await process.wait() == 0
        except TimeoutError:
            log.warning("courier_killed", after_s=self._deadline_s)
            return went_well, False
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                await process.wait()


def _environment() -> dict[str, str]:
    passed_on = {name: value for name, value in os.environ.items() if name.lower() in _ENVIRONMENT}
    import_path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    return {**passed_on, "PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONPATH": import_path}
