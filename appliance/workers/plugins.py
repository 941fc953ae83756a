"""The plug-ins of this process, and the choice of who takes a file.

A plug-in costs nobody but itself. One that does not start is told of, and its files go to the
next processor; one that is down for longer than `PATIENCE_S` is passed over until it is up
again. The built-in processor of a pool is the last choice of each and is never passed over:
while it is down, the pool waits.

It is not for what runs in a nursery: that is `nursery`. One that did not start is not tried
again before the next start of the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from appliance.database.workers import ProcessorState
from appliance.errors import NurseryUnavailable
from appliance.intake.filetypes import FILE_TYPES, UNKNOWN
from appliance.processors.protocol import Description
from appliance.workers import entry_points
from appliance.workers.entry_points import Installed
from appliance.workers.nursery import Nursery

log = structlog.get_logger()

PATIENCE_S = 10.0
"""How long after its loss a plug-in is waited for. Killed once, it is back in less than one."""

NO_MATCH = 3
RECOGNISED = [file_type.content_type for file_type in (*FILE_TYPES, UNKNOWN)]


@dataclass
class Plugin:
    installed: Installed
    nursery: Nursery | None
    """None: there is a fault, and it is not started."""
    fault: str | None

    @property
    def said(self) -> Description | None:
        """What it says of itself, once it has started; None while it has a fault."""
        if self.fault is not None or self.nursery is None or self.nursery.said is None:
            return None
        return self.nursery.said.processor

    def state(self) -> ProcessorState:
        said = self.said
        return ProcessorState(
            name=self.installed.name,
            version=said.version if said else None,
            content_types=said.content_types if said else (),
            ready=self.nursery is not None and self.nursery.pid is not None,
            fault=self.fault,
            layers=self.nursery.said.layers if self.nursery and self.nursery.said else {},
        )


class Plugins:
    """Started beside the pools: `start` does not wait for them, whoever chooses does."""

    def __init__(self, plugins: Sequence[Plugin] = ()) -> None:
        self._plugins = plugins
        self._settled = asyncio.Event()
        if not plugins:
            self._settled.set()
        self._starting: asyncio.Task[None] | None = None

    @classmethod
    def open(
        cls, scratch_dir: Path, *, make: Callable[..., Nursery] = Nursery, **options: Any
    ) -> Plugins:
        """Those that are installed. `options` go to each nursery."""
        return cls(
            [
                Plugin(
                    one,
                    None
                    if one.fault
                    else make(one.name, scratch_dir=scratch_dir, processor=one.value, **options),
                    one.fault,
                )
                for one in entry_points.plugins(entry_points.installed())
            ]
        )

    def states(self) -> tuple[ProcessorState, ...]:
        return tuple(plugin.state() for plugin in self._plugins)

    def start(self) -> None:
        """Begin to start them; each that cannot be used gets a fault."""
        if self._plugins:
            self._starting = asyncio.create_task(self._start_all(), name="plugins")

    async def stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait([self._starting])
        await asyncio.gather(
            *(plugin.nursery.stop() for plugin in self._plugins if plugin.nursery is not None)
        )

    async def settled(self) -> None:
        """Return when every plug-in is ready or has a fault: within a nursery's time to get
        ready, 30 s."""
        await self._settled.wait()

    def usable(self) -> list[Nursery]:
        """Of those that have started."""
        return [
            plugin.nursery
            for plugin in self._plugins
            if plugin.nursery is not None and plugin.said is not None
        ]

    def unusable(self) -> set[str]:
        """The names of those with a fault."""
        return {plugin.installed.name for plugin in self._plugins if plugin.fault is not None}

    async def choose(self, content_type: str, own: Nursery) -> Nursery:
        """Who takes a file of that type; `own` is the nursery of the pool's built-in processor.

        The more exact claim wins (`text/plain`, `text/*`, `*/*`), a plug-in before the built-in
        one at equal exactness, and of several the first by name.
        """
        await self.settled()
        for plugin in self._claimants(content_type, own):
            assert plugin.nursery is not None
            if await plugin.nursery.is_up(within_s=PATIENCE_S):
                return plugin.nursery
            log.warning(
                "plugin_passed_over", processor=plugin.installed.name, content_type=content_type
            )
        return own

    def _claimants(self, content_type: str, own: Nursery) -> list[Plugin]:
        own_rank = NO_MATCH if own.said is None else exactness(own.said.processor, content_type)
        ranked = [
            (exactness(said, content_type), plugin.installed.name, plugin)
            for plugin in self._plugins
            if (said := plugin.said) is not None
        ]
        claims = [one for one in ranked if one[0] <= own_rank and one[0] < NO_MATCH]
        return [plugin for *_, plugin in sorted(claims, key=lambda one: one[:2])]

    # --- the start ----------------------------------------------------------------------------

    async def _start_all(self) -> None:
        try:
            await asyncio.gather(*(self._start(plugin) for plugin in self._plugins))
            for content_type, names in _contested(self._plugins):
                log.warning(
                    "plugins_overlap",
                    content_type=content_type,
                    taken_by=names[0],
                    left_out=names[1:],
                )
        finally:
            self._settled.set()

    async def _start(self, plugin: Plugin) -> None:
        if plugin.nursery is not None:
            try:
                await plugin.nursery.start()
            except NurseryUnavailable as error:
                plugin.fault = error.detail
            else:
                plugin.fault = _misnamed(plugin)
            if plugin.fault is not None:
                await plugin.nursery.stop()
        if plugin.fault is not None:
            log.error(
                "plugin_not_used",
                processor=plugin.installed.name,
                package=plugin.installed.distribution,
                reason=plugin.fault,
            )
        elif unknown := _unrecognised(plugin):
            log.warning(
                "plugin_types_unrecognised", processor=plugin.installed.name, content_types=unknown
            )


def exactness(said: Description, content_type: str) -> int:
    """0: names the type itself; 1: `text/*`; 2: `*/*`; NO_MATCH: does not take it."""
    family = content_type.partition("/")[0] + "/*"
    for rank, pattern in enumerate((content_type, family, "*/*")):
        if pattern in said.content_types:
            return rank
    return NO_MATCH


def unrecognised(said: Description) -> list[str]:
    """Types of a processor that no file has, as the server recognises them."""
    families = {known.partition("/")[0] + "/*" for known in RECOGNISED}
    return sorted({*said.content_types} - {*RECOGNISED, *families, "*/*"})


def _unrecognised(plugin: Plugin) -> list[str]:
    return unrecognised(plugin.said) if plugin.said is not None else []


def _misnamed(plugin: Plugin) -> str | None:
    assert plugin.nursery is not None
    assert plugin.nursery.said is not None
    name = plugin.nursery.said.processor.name
    if name == plugin.installed.name:
        return None
    return (
        f"The processor of {plugin.installed.distribution} calls itself {name}, and its entry "
        f"point calls it {plugin.installed.name}; its author has to make them one."
    )


def _contested(plugins: Sequence[Plugin]) -> Iterator[tuple[str, list[str]]]:
    """The types that several plug-ins claim in the same words, with the plug-ins by name."""
    claims: dict[str, list[str]] = {}
    for plugin in plugins:
        for content_type in plugin.said.content_types if plugin.said else ():
            claims.setdefault(content_type, []).append(plugin.installed.name)
    yield from (
        (content_type, sorted(names)) for content_type, names in claims.items() if len(names) > 1
    )


@dataclass(frozen=True)
class Chooser:
    """What a pool hands to an attempt: who takes which file."""

    own: Nursery
    plugins: Plugins

    async def choose(self, content_type: str) -> Nursery:
        return await self.plugins.choose(content_type, self.own)
