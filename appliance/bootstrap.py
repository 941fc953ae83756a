"""Puts the appliance together, of the parts that `parts` opens.

Start: lock the data directory, open the database, the store, take back what a previous life
held, warm the nurseries, listen. Stop: the same, backwards.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import structlog

import appliance
from appliance import data_dir, outgoing, upkeep
from appliance.admin_key import ensure_admin_key
from appliance.backups.asked import AskedBackups
from appliance.clock import Clock, SystemClock
from appliance.config import Config
from appliance.database import workers
from appliance.database.ages import DAY_S, Age, Ages
from appliance.database.workers import About, Kind
from appliance.errors import ConfigurationError
from appliance.ids import new_id
from appliance.intake.receiver import Receiver
from appliance.intake.reruns import Reruns
from appliance.jobs import JobType
from appliance.last_uses import LastUses
from appliance.maintenance.certificates import Certificates
from appliance.maintenance.deliverer import Deliverer
from appliance.maintenance.heartbeat import Heartbeat
from appliance.maintenance.recorder import Recorder
from appliance.maintenance.rescuer import Rescuer
from appliance.maintenance.service import Maintenance, Service
from appliance.outgoing import Outgoing
from appliance.parts import Parts, backups, open_messenger, open_parts
from appliance.people import GroupRoles
from appliance.permissions import Role
from appliance.presets import files as preset_files
from appliance.presets.preset import Presets
from appliance.processors.protocol import Limits
from appliance.setting_values import PoolSize
from appliance.tls import Tls
from appliance.web.app import create_app
from appliance.web.connections import Runner, Site
from appliance.web.guesses import Guesses
from appliance.web.identity_provider import IdentityProvider, SignIn
from appliance.web.in_flight import IN_FLIGHT
from appliance.web.jwks import Jwks
from appliance.web.proxies import Proxies
from appliance.web.rate_limits import RateLimits
from appliance.web.services import Services
from appliance.web.tokens import Tokens
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

DELIVERY_DRAIN_S = 2.0
"""At the end, how long requests to webhooks may go on; they are sent again after the next start."""

MAX_RESULT_BYTES = 8 * 1024**3


class Process(NamedTuple):
    """One life of this process, as the others know it."""

    id: str
    node: str
    about: About


@dataclass(frozen=True)
class Appliance:
    """A running appliance; made by `start`."""

    url: str
    signin_url: str | None
    """A one-time sign-in link, at the first start only."""
    services: Services
    port: int
    """Where it listens; the url may be that of a proxy."""
    certificates: Certificates | None
    """None: it speaks plain HTTP."""


async def start(stack: AsyncExitStack, config: Config, *, with_workers: bool = True) -> Appliance:
    """Start everything; leaving `stack` stops it.

    Raises ConfigurationError, and what the parts raise when they cannot be reached.
    """
    asyncio.get_running_loop().set_default_executor(
        ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="disk")
    )
    data_dir.prepare(config.data_dir)
    data_dir.check_restored(config.data_dir)
    stack.enter_context(data_dir.locked(config.data_dir))
    listening = stack.enter_context(listen(config))
    tls = open_tls(config)
    messenger = await open_messenger(config)
    presets = await asyncio.to_thread(load_presets, config)
    parts = await open_parts(stack, config)
    node = data_dir.node_id(config.data_dir)
    process = Process(f"{node}:{new_id()}", node, about_this_process(with_workers=with_workers))
    rescuer = _rescuer(parts, config, process)
    await _take_back(parts, rescuer, process)
    crew = None
    others: list[Service] = []
    if with_workers:
        crew = await _start_crew(stack, parts, config, presets, process)
    else:
        others.append(_heartbeat(stack, parts, config, process))
    if parts.uploads is not None:
        await parts.uploads.recover()
    url = config.url
    port: int = listening.getsockname()[1]
    if not (config.port or config.public_url):
        url = f"{config.scheme}://{config.host}:{port}"
    if messenger:
        others.append(upkeep.teller(parts, messenger, crew.pools if crew else (), url))
    certificates = None
    if tls is not None:
        certificates = Certificates(tls, parts.clock)
        certificates.tell_of_expiry()
        others.append(certificates)
    last_uses = LastUses()
    recorder = Recorder(database=parts.database, last_uses=last_uses)
    outgoing_requests = await stack.enter_async_context(open_outgoing(config))
    deliverer = Deliverer(
        database=parts.database,
        outgoing=outgoing_requests,
        metrics=parts.metrics,
        clock=parts.clock,
    )
    stack.push_async_callback(deliverer.drain, DELIVERY_DRAIN_S)
    asked = await _open_backups(stack, parts, config)
    ages = ages_of(config, presets, has_cold_place=parts.storage.has_cold_place)
    maintenance = Maintenance(
        [
            *upkeep.of_jobs(parts, rescuer),
            *upkeep.of_files(parts, config, ages, asked.backups if asked else None),
            recorder,
            deliverer,
            *others,
        ]
    )
    maintenance.start()
    stack.push_async_callback(maintenance.stop)

    # Last: a start that fails before this one leaves the first sign-in link to the next.
    signin_token = await ensure_admin_key(
        parts.database,
        key_file=config.data_dir / "admin.key",
        configured=config.admin_key,
        now=parts.clock.now(),
    )
    sign_in = await _open_sign_in(stack, config, parts.clock, url)
    tokens = await _open_tokens(stack, config, parts, sign_in)
    services = _services(
        parts, config, presets, ages, url, last_uses, tokens, sign_in, tls, outgoing_requests, asked
    )
    await _start_web(stack, services, config, listening, crew)
    signin_url = f"{url}/signin?token={signin_token}" if signin_token else None
    return Appliance(
        url=url, signin_url=signin_url, services=services, port=port, certificates=certificates
    )


def about_this_process(*, with_workers: bool) -> About:
    """What the pages show of it; every process that `start` makes serves HTTP."""
    kind = Kind.BOTH if with_workers else Kind.API
    return About(kind, socket.gethostname(), os.getpid(), appliance.__version__)


async def _open_backups(stack: AsyncExitStack, parts: Parts, config: Config) -> AskedBackups | None:
    """None: there is no place for any. Raises ConfigurationError."""
    if config.backup_url is None:
        return None
    opened = backups(config, config.backup_url, database=parts.database, clock=parts.clock)
    asked = AskedBackups(await stack.enter_async_context(opened))
    stack.push_async_callback(asked.close)
    return asked


def _heartbeat(stack: AsyncExitStack, parts: Parts, config: Config, process: Process) -> Heartbeat:
    heartbeat = Heartbeat(
        process.id,
        node=process.node,
        about=process.about,
        database=parts.database,
        clock=parts.clock,
        interval_s=config.heartbeat_timeout_s / workers.BEATS_PER_TIMEOUT,
    )
    stack.push_async_callback(heartbeat.leave)
    return heartbeat


def _rescuer(parts: Parts, config: Config, process: Process) -> Rescuer:
    return Rescuer(
        database=parts.database,
        queue=parts.queue,
        announcer=parts.announcer,
        metrics=parts.metrics,
        clock=parts.clock,
        heartbeat_timeout_s=config.heartbeat_timeout_s,
        stale_after_s=config.stale_after_s,
        own_worker=process.id,
    )


async def _take_back(parts: Parts, rescuer: Rescuer, process: Process) -> None:
    """Begin this life, and make PENDING again what this node's previous ones held."""
    now = parts.clock.now()
    ended = await parts.database.write(
        workers.register(process.id, node=process.node, about=process.about, now=now)
    )
    counts = await rescuer.recover(ended)
    if counts["rescued"]:
        log.info("previous_life_recovered", **counts)


async def _start_crew(
    stack: AsyncExitStack,
    parts: Parts,
    config: Config,
    presets: Presets,
    process: Process,
) -> Crew:
    """Warm the nurseries, have them look through the presets, and take jobs.

    Raises ConfigurationError, NurseryUnavailable.
    """
    scratch_dir = data_dir.empty_scratch(config.data_dir)
    attempts = Attempts(
        database=parts.database,
        storage=parts.storage,
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
    nurseries = _nurseries(config, scratch_dir)
    plugins = Plugins.open(scratch_dir, sandbox=config.sandbox)
    crew = Crew(
        [
            Pool(
                job_type,
                smallest=size.smallest,
                largest=size.largest,
                worker_id=process.id,
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
        worker_id=process.id,
        node=process.node,
        about=process.about,
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


def _nurseries(config: Config, scratch_dir: Path) -> dict[JobType, Nursery]:
    """Of the pools that are switched on."""
    return {
        job_type: Nursery(job_type.value, scratch_dir=scratch_dir, sandbox=config.sandbox)
        for job_type, size in pool_sizes(config).items()
        if size.largest
    }


def ages_of(config: Config, presets: Presets, *, has_cold_place: bool) -> Ages:
    return Ages(
        originals=Age(config.delete_after_days, presets.days(preset_files.DELETE_AFTER)),
        results=Age(
            config.delete_results_after_days, presets.days(preset_files.DELETE_RESULTS_AFTER)
        ),
        cold_after_s=config.cold_after_days * DAY_S
        if has_cold_place and config.cold_after_days
        else None,
    )


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


def _services(
    parts: Parts,
    config: Config,
    presets: Presets,
    ages: Ages,
    url: str,
    last_uses: LastUses,
    tokens: Tokens | None,
    sign_in: SignIn | None,
    tls: Tls | None,
    outgoing_requests: Outgoing,
    asked: AskedBackups | None,
) -> Services:
    return Services(
        database=parts.database,
        storage=parts.storage,
        coordination=parts.coordination,
        acts=parts.acts,
        admission=parts.admission,
        receiver=Receiver(
            parts.admission,
            storage=parts.storage,
            database=parts.database,
            queue=parts.queue,
            announcer=parts.announcer,
            clock=parts.clock,
        ),
        reruns=Reruns(
            parts.admission,
            storage=parts.storage,
            database=parts.database,
            queue=parts.queue,
            announcer=parts.announcer,
            clock=parts.clock,
        ),
        presets=presets,
        uploads=parts.uploads,
        metrics=parts.metrics,
        clock=parts.clock,
        guesses=Guesses(parts.coordination),
        rate_limits=RateLimits(
            parts.coordination,
            parts.metrics,
            uploads=config.rate_uploads,
            requests=config.rate_requests,
            anonymous=config.rate_anonymous,
        ),
        last_uses=last_uses,
        tokens=tokens,
        sign_in=sign_in,
        tls=tls,
        outgoing=outgoing_requests,
        public_url=url,
        settings=config.in_force,
        ages=ages,
        backup_every_s=None if config.backup_url is None else config.backup_every_s,
        backups=asked,
        prices=config.prices,
        scans=parts.scanner is not None,
        storage_redirect=config.storage_redirect,
        stopping=asyncio.Event(),
    )


async def check_provider(config: Config) -> None:
    """Ask the OpenID provider what it is, where one is set. Raises IssuerUnavailable."""
    async with AsyncExitStack() as stack:
        sign_in = await _open_sign_in(stack, config, SystemClock(), config.url)
        if sign_in is not None:
            await sign_in.provider.metadata()


async def _open_sign_in(
    stack: AsyncExitStack, config: Config, clock: Clock, url: str
) -> SignIn | None:
    if config.oidc_issuer is None or config.oidc_client_id is None:
        return None
    provider = IdentityProvider(
        await stack.enter_async_context(open_outgoing(config)),
        clock,
        issuer=config.oidc_issuer,
        client_id=config.oidc_client_id,
        client_secret=config.oidc_client_secret,
        scopes=config.oidc_scopes,
        redirect_uri=f"{url}/signin/oidc/callback",
    )
    default = None if config.oidc_default_role == "none" else Role(config.oidc_default_role)
    roles = GroupRoles(config.oidc_groups_claim, config.oidc_roles, default)
    host = urlsplit(config.oidc_issuer).hostname or config.oidc_issuer
    return SignIn(provider, roles, config.oidc_name or host)


async def _open_tokens(
    stack: AsyncExitStack, config: Config, parts: Parts, sign_in: SignIn | None
) -> Tokens | None:
    """Of the issuer that is set for them, else of the provider that people sign in at."""
    if config.jwt_audience is None:
        return None
    if config.jwt_issuer is None:
        assert sign_in is not None  # the configuration sees to it
        return Tokens(
            issuer=sign_in.provider.issuer,
            audience=config.jwt_audience,
            roles=sign_in.roles,
            jwks=sign_in.provider,
        )
    jwks = None
    if config.jwt_jwks_url is not None:
        outgoing = await stack.enter_async_context(open_outgoing(config))
        jwks = Jwks(config.jwt_jwks_url, outgoing, parts.clock)
    elif config.jwt_secret is None:
        return None
    return Tokens(
        issuer=config.jwt_issuer,
        audience=config.jwt_audience,
        roles=GroupRoles(config.jwt_roles_claim, {role.value: role for role in Role}, Role.USER),
        secret=config.jwt_secret,
        jwks=jwks,
    )


def open_outgoing(config: Config) -> AbstractAsyncContextManager[Outgoing]:
    return outgoing.opened(allow_private=config.outgoing == "any")


async def _start_web(
    stack: AsyncExitStack,
    services: Services,
    config: Config,
    listening: socket.socket,
    crew: Crew | None,
) -> None:
    app = create_app(services)
    runner = Runner(
        app,
        max_connections_per_client=config.max_connections_per_client,
        proxies=Proxies(config.trusted_proxies or ()),
        access_log=None,  # the access middleware writes the one canonical line
        handle_signals=False,
        keepalive_timeout=75.0,  # aiohttp's is an hour; browsers and proxies give up sooner
        shutdown_timeout=1.0,  # requests were waited for before
        max_line_size=16 * 1024,
        max_field_size=16 * 1024,
        read_bufsize=256 * 1024,
        auto_decompress=False,  # encoded uploads are refused, so nothing is ever inflated
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    context = services.tls.context if services.tls else None
    site = Site(runner, listening, ssl_context=context, backlog=1024)
    await site.start()

    async def stop() -> None:
        """Take no new connections and no new jobs; let what is under way come to its end."""
        services.stopping.set()
        await site.stop()
        draining = [crew.drain(config.drain_s)] if crew else []
        left, *_ = await asyncio.gather(app[IN_FLIGHT].wait_until_none(config.drain_s), *draining)
        if left:
            log.warning("requests_broken_off", requests=left)

    stack.push_async_callback(stop)


# --- by the configuration ------------------------------------------------------------------


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


def open_tls(config: Config) -> Tls | None:
    """None: plain HTTP. Raises ConfigurationError."""
    if config.tls_certificate_file is None or config.tls_key_file is None:
        return None
    return Tls(config.tls_certificate_file, config.tls_key_file)


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
