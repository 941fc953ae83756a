"""Puts the appliance together. The only module that names a concrete backend.

Start: lock the data directory, open the database, the store, take back what a previous life
held, warm the nurseries, listen. Stop: the same, backwards.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import structlog
from aiohttp import web

from appliance.clock import SystemClock
from appliance.config import Config, PoolSize
from appliance.coordination.memory import MemoryCoordination
from appliance.database import keys, workers
from appliance.database.protocol import Database
from appliance.database.sqlite import SqliteDatabase
from appliance.errors import ConfigurationError
from appliance.ids import new_id
from appliance.intake.receiver import IntakeLimits, Receiver
from appliance.jobs import JobType, Scan
from appliance.keys import ApiKey, Role, hash_secret, new_secret, new_token
from appliance.maintenance.pruner import Pruner
from appliance.maintenance.rescuer import Rescuer
from appliance.maintenance.service import Maintenance
from appliance.maintenance.stager import Stager
from appliance.metrics import Metrics
from appliance.notify.announcer import Announcer
from appliance.processors.protocol import Limits
from appliance.queue.table import TableQueue
from appliance.storage.local import LocalStorage
from appliance.storage.protocol import Storage
from appliance.web.app import create_app
from appliance.web.in_flight import IN_FLIGHT
from appliance.web.services import Services
from appliance.workers.attempt import Attempts
from appliance.workers.crew import Crew
from appliance.workers.nursery import Nursery
from appliance.workers.pool import Pool

log = structlog.get_logger()

SIGNIN_LINK_S = 24 * 3600
MAX_RESULT_BYTES = 8 * 1024**3

NO_SCANNER = Scan(verdict="not_scanned", reason="no scanner is set")


class AlreadyRunning(ConfigurationError):
    """Another process uses the data directory."""


@dataclass(frozen=True)
class Appliance:
    """A running appliance; made by `start`."""

    url: str
    signin_url: str | None
    """A one-time sign-in link, at the first start only."""
    app: web.Application
    stopping: asyncio.Event


async def start(stack: AsyncExitStack, config: Config, *, with_workers: bool = True) -> Appliance:
    """Start everything; leaving `stack` stops it.

    Raises ConfigurationError, and what the parts raise when they cannot be reached.
    """
    clock = SystemClock()
    metrics = Metrics()
    stopping = asyncio.Event()
    prepare_data_dir(config.data_dir)
    stack.enter_context(lock_data_dir(config.data_dir))
    listening = listen(config)
    stack.callback(listening.close)

    database = await open_database(config)
    stack.push_async_callback(database.close)
    storage = await asyncio.to_thread(open_storage, config)
    coordination = MemoryCoordination(clock)
    queue = TableQueue(database)
    announcer = Announcer(coordination)
    signin_token = await _ensure_admin_key(config, database, clock)

    rescuer = Rescuer(
        database=database,
        queue=queue,
        announcer=announcer,
        metrics=metrics,
        clock=clock,
        heartbeat_timeout_s=config.heartbeat_timeout_s,
        stale_after_s=config.stale_after_s,
    )
    maintenance = Maintenance(
        [
            Stager(database=database, queue=queue, announcer=announcer, clock=clock),
            rescuer,
            Pruner(database=database, storage=storage, clock=clock),
        ]
    )
    crew: Crew | None = None
    if with_workers:
        node = node_id(config.data_dir)
        worker_id = f"{node}:{new_id()}"
        ended = await database.write(workers.register(worker_id, node=node, now=clock.now()))
        counts = await rescuer.recover(ended)
        if counts["rescued"]:
            log.info("previous_life_recovered", **counts)
        attempts = Attempts(
            database=database,
            storage=storage,
            announcer=announcer,
            metrics=metrics,
            clock=clock,
            scratch_dir=_empty_scratch(config.data_dir),
            limits=child_limits(config),
        )
        pools = [
            Pool(
                job_type,
                smallest=size.smallest,
                largest=size.largest,
                worker_id=worker_id,
                nursery=Nursery(job_type.value, scratch_dir=attempts.scratch_dir),
                attempts=attempts,
                queue=queue,
                database=database,
                coordination=coordination,
                announcer=announcer,
                clock=clock,
            )
            for job_type, size in pool_sizes(config).items()
            if size.largest
        ]
        crew = Crew(
            pools,
            worker_id=worker_id,
            database=database,
            announcer=announcer,
            clock=clock,
            heartbeat_timeout_s=config.heartbeat_timeout_s,
        )
        await crew.start()
        stack.push_async_callback(crew.drain, config.drain_s)
    maintenance.start()
    stack.push_async_callback(maintenance.stop)

    url = config.url if config.port else f"http://{config.host}:{listening.getsockname()[1]}"
    app = create_app(
        Services(
            database=database,
            storage=storage,
            coordination=coordination,
            receiver=Receiver(
                storage=storage,
                database=database,
                queue=queue,
                announcer=announcer,
                clock=clock,
                limits=IntakeLimits(
                    max_upload_bytes=config.max_upload_bytes,
                    reserve_bytes=config.reserve_bytes,
                    allowed_types=config.allowed_types,
                    max_retries=config.max_retries,
                ),
                scan=NO_SCANNER,
            ),
            metrics=metrics,
            clock=clock,
            public_url=url,
            stopping=stopping,
            pools=lambda: crew.pools if crew else (),
        )
    )
    runner = web.AppRunner(
        app,
        access_log=None,  # the access middleware writes the one canonical line
        handle_signals=False,
        shutdown_timeout=1.0,  # requests were waited for before
        max_line_size=16 * 1024,
        max_field_size=16 * 1024,
        read_bufsize=256 * 1024,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    site = web.SockSite(runner, listening, backlog=1024)
    await site.start()
    stack.push_async_callback(_finish_requests, site, app, stopping, config.drain_s)
    signin_url = f"{url}/signin?token={signin_token}" if signin_token else None
    return Appliance(url=url, signin_url=signin_url, app=app, stopping=stopping)


async def _finish_requests(
    site: web.SockSite, app: web.Application, stopping: asyncio.Event, grace_s: float
) -> None:
    """Take no new connections, and let what is being answered be answered."""
    stopping.set()
    await site.stop()
    left = await app[IN_FLIGHT].wait_until_none(grace_s)
    if left:
        log.warning("requests_broken_off", requests=left)


# --- parts by configuration ----------------------------------------------------------------


async def open_database(config: Config) -> Database:
    path = Path(unquote(urlsplit(config.database_url).path))
    path.parent.mkdir(parents=True, exist_ok=True)
    return await SqliteDatabase.open(path)


def open_storage(config: Config) -> Storage:
    return LocalStorage.open(Path(unquote(urlsplit(config.storage_url).path)))


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


def listen(config: Config) -> socket.socket:
    """Bind before anything else is started. Raises ConfigurationError."""
    try:
        return socket.create_server(
            (config.host, config.port),
            family=socket.AF_INET6 if ":" in config.host else socket.AF_INET,
            backlog=1024,
        )
    except OSError as error:
        raise ConfigurationError(
            [
                f"APPLIANCE_HOST/APPLIANCE_PORT: {config.host}:{config.port} cannot be listened "
                f"on ({os.strerror(error.errno or 0)}). Stop what uses it, or choose another port."
            ]
        ) from error


# --- the data directory --------------------------------------------------------------------


def prepare_data_dir(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        (data_dir / ".writable").write_bytes(b"")
        (data_dir / ".writable").unlink()
    except OSError as error:
        raise ConfigurationError(
            [
                f"APPLIANCE_DATA_DIR: {data_dir} cannot be written ({error.strerror}). Choose "
                f"another directory, or give it to uid {os.getuid()}."
            ]
        ) from error


class lock_data_dir:  # noqa: N801 - used like a function
    """Hold the directory for this process; the kernel lets go when the process ends."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "lock"

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise AlreadyRunning(
                [
                    f"APPLIANCE_DATA_DIR: another appliance runs on {self._path.parent}. Stop it, "
                    "or give this one a directory of its own."
                ]
            ) from None

    def __exit__(self, *_: object) -> None:
        self._file.close()


def node_id(data_dir: Path) -> str:
    """This data directory's own name, the same at every start."""
    path = data_dir / "node-id"
    if not path.exists():
        path.write_text(new_id(), encoding="ascii")
    return path.read_text(encoding="ascii")


def _empty_scratch(data_dir: Path) -> Path:
    scratch = data_dir / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    return scratch


# --- keys ----------------------------------------------------------------------------------


async def create_key(
    database: Database, *, name: str, role: Role, now: float, secret: str | None = None
) -> tuple[ApiKey, str]:
    """Make a key; its secret is returned once and kept nowhere."""
    secret = secret or new_secret()
    key = ApiKey(
        id=new_id(),
        name=name,
        role=role,
        prefix=secret[:10],
        created_at=now,
        expires_at=None,
        revoked_at=None,
    )
    await database.write(keys.create(key, secret_hash=hash_secret(secret)))
    return key, secret


async def _ensure_admin_key(config: Config, database: Database, clock: SystemClock) -> str | None:
    """Make the first admin key where there is none; returns a sign-in token when it did."""
    now = clock.now()
    if config.admin_key is not None:
        if await database.read(keys.by_secret(hash_secret(config.admin_key))) is None:
            await create_key(
                database, name="admin", role=Role.ADMIN, now=now, secret=config.admin_key
            )
        return None
    known = await database.read(keys.list_all())
    if any(key.role is Role.ADMIN and key.is_valid(now) for key in known):
        return None
    path = config.data_dir / "admin.key"
    key, secret = await create_key(database, name="admin", role=Role.ADMIN, now=now)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret + "\n")
    token = new_token()
    await database.write(
        keys.create_signin_link(
            key.id, token_hash=hash_secret(token), expires_at=now + SIGNIN_LINK_S
        )
    )
    return token
