"""What works on jobs in a process: its life as the others know it, and its crew.

`appliance serve` has one beside HTTP (`bootstrap`), `appliance worker` has nothing else.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import structlog

import appliance
from appliance import data_dir, upkeep
from appliance.config import Config
from appliance.database import workers
from appliance.database.workers import About, Kind
from appliance.errors import ConfigurationError
from appliance.ids import new_id
from appliance.jobs import JobType
from appliance.maintenance.heartbeat import Heartbeat
from appliance.maintenance.rescuer import Rescuer
from appliance.parts import Parts, open_parts
from appliance.presets import files as preset_files
from appliance.presets.preset import Presets
from appliance.processors.protocol import Limits
from appliance.setting_values import PoolSize
from appliance.workers.attempt import Attempts
from appliance.workers.crew import Crew
from appliance.workers.entry_points import BUILT_IN
from appliance.workers.nursery import Nursery
from appliance.workers.plugins import Plugins
from appliance.workers.pool import Pool
from appliance.workers.preset_check import preset_faults
from appliance.workers.scanning import Scanning
from appliance.workers.surroundings import Surroundings

log = structlog.get_logger()

DISK_THREADS = 32
"""Threads that wait for the disk. Python's default is cores + 4; syncs that wait side by side
share the file system's commits, so more of them cost less."""

MAX_RESULT_BYTES = 8 * 1024**3


class Life(NamedTuple):
    """One life of this process, as the others know it."""

    id: str
    node: str
    about: About
    rescuer: Rescuer


def prepare(stack: AsyncExitStack, config: Config) -> None:
    """Take the data directory for this process alone. Raises ConfigurationError."""
    asyncio.get_running_loop().set_default_executor(
        ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="disk")
    )
    data_dir.prepare(config.data_dir)
    data_dir.check_restored(config.data_dir)
    stack.enter_context(data_dir.locked(config.data_dir))


async def begin_life(parts: Parts, config: Config, kind: Kind) -> Life:
    """Register, and make PENDING again what this node's previous lives held."""
    node = data_dir.node_id(config.data_dir)
    about = About(kind, socket.gethostname(), os.getpid(), appliance.__version__)
    life_id = f"{node}:{new_id()}"
    rescuer = Rescuer(
        database=parts.database,
        queue=parts.queue,
        announcer=parts.announcer,
        metrics=parts.metrics,
        clock=parts.clock,
        heartbeat_timeout_s=config.heartbeat_timeout_s,
        stale_after_s=config.stale_after_s,
        own_worker=life_id,
    )
    ended = await parts.database.write(
        workers.register(life_id, node=node, about=about, now=parts.clock.now())
    )
    counts = await rescuer.recover(ended)
    if counts["rescued"]:
        log.info("previous_life_recovered", **counts)
    return Life(life_id, node, about, rescuer)


def heartbeat(stack: AsyncExitStack, parts: Parts, config: Config, life: Life) -> Heartbeat:
    """Of a process without a crew, which has its own."""
    beating = Heartbeat(
        life.id,
        node=life.node,
        about=life.about,
        database=parts.database,
        clock=parts.clock,
        interval_s=config.heartbeat_timeout_s / workers.BEATS_PER_TIMEOUT,
    )
    stack.push_async_callback(beating.leave)
    return beating


async def start_worker(
    stack: AsyncExitStack, config: Config, *, types: Collection[JobType]
) -> None:
    """Start a process that works on jobs of these types and does nothing else but maintenance;
    leaving `stack` stops it.

    Raises ConfigurationError, NurseryUnavailable, and what the parts raise.
    """
    _check_shared(config)
    prepare(stack, config)
    presets = await asyncio.to_thread(load_presets, config)
    parts = await open_parts(stack, config)
    life = await begin_life(parts, config, Kind.WORKER)
    crew = await start_crew(stack, parts, config, presets, life, types=types)
    await upkeep.start_led(stack, parts, "jobs", upkeep.of_jobs(parts, life.rescuer))
    stack.push_async_callback(crew.drain, config.drain_s)


def _check_shared(config: Config) -> None:
    """Raises ConfigurationError where there is no server to share the work of."""
    own = {
        "APPLIANCE_DATABASE_URL": config.database_url.startswith("sqlite:"),
        "APPLIANCE_STORAGE_URL": config.storage_url.startswith("file:"),
    }
    if any(own.values()):
        mends = {
            "APPLIANCE_DATABASE_URL": "postgresql://…",
            "APPLIANCE_STORAGE_URL": "s3://… or gs://…",
        }
        raise ConfigurationError(
            [
                f"{name}: a worker shares it with the servers, so it has to be {mends[name]}. One "
                "server alone has its workers with it: `appliance serve`."
                for name, is_own in own.items()
                if is_own
            ]
        )


async def start_crew(
    stack: AsyncExitStack,
    parts: Parts,
    config: Config,
    presets: Presets,
    life: Life,
    *,
    types: Collection[JobType] = tuple(JobType),
) -> Crew:
    """Warm the nurseries, have them look through the presets, and take jobs of these types.

    Raises ConfigurationError, NurseryUnavailable.
    """
    scratch_dir = data_dir.empty_scratch(config.data_dir)
    attempts = Attempts(
        database=parts.database,
        storage=parts.storage,
        queue=parts.queue,
        announcer=parts.announcer,
        metrics=parts.metrics,
        clock=parts.clock,
        surroundings=Surroundings(
            database=parts.database,
            storage=parts.storage,
            scanner=parts.scanner,
            scratch_dir=scratch_dir,
            reserve_bytes=config.reserve_bytes,
        ),
        scratch_dir=scratch_dir,
        limits=child_limits(config),
        presets=presets,
        scanning=_scanning(parts, config),
    )
    nurseries = _nurseries(config, scratch_dir, types)
    plugins = Plugins.open(scratch_dir, sandbox=config.sandbox)
    crew = Crew(
        [
            Pool(
                job_type,
                smallest=size.smallest,
                largest=size.largest,
                worker_id=life.id,
                nursery=nurseries[job_type],
                plugins=plugins,
                attempts=attempts,
                queue=parts.queue,
                database=parts.database,
                coordination=parts.coordination,
                announcer=parts.announcer,
                clock=parts.clock,
            )
            for job_type, size in pool_sizes(config).items()
            if job_type in nurseries
        ],
        worker_id=life.id,
        node=life.node,
        about=life.about,
        database=parts.database,
        announcer=parts.announcer,
        clock=parts.clock,
        heartbeat_timeout_s=config.heartbeat_timeout_s,
        peak_bytes=attempts.peak_bytes,
        plugins=plugins,
    )
    stack.push_async_callback(crew.drain, config.drain_s)
    await crew.warm()
    faults = await _preset_faults(presets, nurseries, plugins)
    if faults:
        raise ConfigurationError(faults)
    await crew.start()
    return crew


def _nurseries(
    config: Config, scratch_dir: Path, types: Collection[JobType] = tuple(JobType)
) -> dict[JobType, Nursery]:
    """Of the pools that are switched on."""
    return {
        job_type: Nursery(job_type.value, scratch_dir=scratch_dir, sandbox=config.sandbox)
        for job_type, size in pool_sizes(config).items()
        if size.largest and job_type in types
    }


def load_presets(config: Config) -> Presets:
    """Raises ConfigurationError."""
    folder = config.presets_dir
    if folder != config.data_dir / "presets" and not folder.is_dir():
        raise ConfigurationError(
            [f"APPLIANCE_PRESETS_DIR: there is no folder {folder}; make it, or leave it unset."]
        )
    return preset_files.load(folder)


async def _preset_faults(
    presets: Presets, nurseries: Mapping[JobType, Nursery], plugins: Plugins
) -> list[str]:
    if not presets.processors <= {*BUILT_IN.values()}:
        await plugins.settled()
    return await preset_faults(
        presets,
        [*nurseries.values(), *plugins.usable()],
        unusable=plugins.unusable(),
        complete=len(nurseries) == len(JobType),
    )


async def check_presets(config: Config) -> None:
    """As the start does, in nurseries of its own. Raises ConfigurationError, NurseryUnavailable."""
    presets = await asyncio.to_thread(load_presets, config)
    nurseries = _nurseries(config, config.data_dir)  # where no attempt is made, nothing is written
    plugins = Plugins.open(config.data_dir, sandbox=config.sandbox)
    plugins.start()
    try:
        starts = [nursery.start() for nursery in nurseries.values()]
        for fault in await asyncio.gather(*starts, return_exceptions=True):
            if fault is not None:
                raise fault
        faults = await _preset_faults(presets, nurseries, plugins)
    finally:
        await plugins.stop()
        await asyncio.gather(*(nursery.stop() for nursery in nurseries.values()))
    if faults:
        raise ConfigurationError(faults)


def _scanning(parts: Parts, config: Config) -> Scanning | None:
    if parts.scanner is None:
        return None
    return Scanning(
        scanner=parts.scanner,
        required=config.scan == "require",
        database=parts.database,
        storage=parts.storage,
        metrics=parts.metrics,
    )


def pool_sizes(config: Config) -> dict[JobType, PoolSize]:
    return {
        JobType.IMAGE: config.workers_image,
        JobType.PDF: config.workers_pdf,
        JobType.VIDEO: config.workers_video,
        JobType.ANY: config.workers_any,
    }


def child_limits(config: Config) -> Limits:
    cores = len(os.sched_getaffinity(0))
    return Limits(
        memory_bytes=config.job_memory_bytes,
        cpu_s=int(config.job_timeout_s * cores) + 1,
        file_bytes=MAX_RESULT_BYTES,
        wall_s=config.job_timeout_s,
        idle_s=config.job_idle_timeout_s,
    )
