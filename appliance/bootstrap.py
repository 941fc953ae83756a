"""Puts the appliance together, of the parts that `parts` opens.

Start: lock the data directory, open the database, the store, take back what a previous life
held, warm the nurseries, listen. Stop: the same, backwards.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from appliance import outgoing, upkeep, workforce
from appliance.admin_key import ensure_admin_key
from appliance.backups.asked import AskedBackups
from appliance.clock import Clock, SystemClock
from appliance.config import Config
from appliance.database.ages import Ages
from appliance.database.workers import Kind
from appliance.errors import ConfigurationError
from appliance.intake.receiver import Receiver
from appliance.intake.reruns import Reruns
from appliance.last_uses import LastUses
from appliance.maintenance.certificates import Certificates
from appliance.maintenance.deliverer import Deliverer
from appliance.maintenance.recorder import Recorder
from appliance.maintenance.service import Service
from appliance.outgoing import Outgoing
from appliance.parts import Parts, backups, open_messenger, open_parts
from appliance.people import GroupRoles
from appliance.permissions import Role
from appliance.presets.preset import Presets
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
from appliance.workers.crew import Crew

log = structlog.get_logger()

DELIVERY_DRAIN_S = 2.0
"""At the end, how long requests to webhooks may go on; they are sent again after the next start."""


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
    workforce.prepare(stack, config)
    listening = stack.enter_context(listen(config))
    tls = open_tls(config)
    messenger = await open_messenger(config)
    presets = await asyncio.to_thread(workforce.load_presets, config)
    parts = await open_parts(stack, config)
    life = await workforce.begin_life(parts, config, Kind.BOTH if with_workers else Kind.API)
    crew = None
    others: list[Service] = []
    if with_workers:
        crew = await workforce.start_crew(stack, parts, config, presets, life)
    else:
        others.append(workforce.heartbeat(stack, parts, config, life))
    if parts.uploads is not None:
        await parts.uploads.recover()
    url = config.url
    port: int = listening.getsockname()[1]
    if not (config.port or config.public_url):
        url = f"{config.scheme}://{config.host}:{port}"
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
    ages = upkeep.ages_of(config, presets, parts.storage)
    of_files = upkeep.of_files(parts, config, ages, asked.backups if asked else None)
    if messenger:
        of_files.append(upkeep.teller(parts, messenger, crew.pools if crew else (), url))
    await upkeep.start_led(stack, parts, "jobs", upkeep.of_jobs(parts, life.rescuer))
    await upkeep.start_led(stack, parts, "files", of_files)
    upkeep.start(stack, [recorder, deliverer, *others])

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


async def _open_backups(stack: AsyncExitStack, parts: Parts, config: Config) -> AskedBackups | None:
    """None: there is no place for any. Raises ConfigurationError."""
    if config.backup_url is None:
        return None
    opened = backups(config, config.backup_url, database=parts.database, clock=parts.clock)
    asked = AskedBackups(await stack.enter_async_context(opened))
    stack.push_async_callback(asked.close)
    return asked


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
        queue=parts.queue,
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
