"""The configuration: one table of settings, read once, all faults told at once.

A setting comes from its flag, else from the environment (`APPLIANCE_PORT`), else from
`appliance.toml` (`port`), else from its default. `load` is the only reader of the environment;
every other module is handed the values it needs. `docs/settings.md` is held to `SETTINGS` by a
test.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from appliance.costs import Prices
from appliance.errors import ConfigurationError
from appliance.jobs import JobType
from appliance.permissions import Role
from appliance.rates import Rate
from appliance.setting_values import (
    PoolSize,
    one_of,
    parse_bytes,
    parse_clamd_url,
    parse_count,
    parse_database_url,
    parse_days,
    parse_encryption_key,
    parse_files,
    parse_group_roles,
    parse_jwt_secret,
    parse_kept,
    parse_key,
    parse_media_types,
    parse_networks,
    parse_notify_urls,
    parse_path,
    parse_pool,
    parse_port,
    parse_public_url,
    parse_rate,
    parse_seconds,
    parse_storage_url,
    parse_switch,
    parse_text,
    parse_type_bytes,
    parse_usd,
    url_with_scheme,
)

PREFIX = "APPLIANCE_"
CLIENT_VARIABLES = frozenset({"APPLIANCE_SERVER", "APPLIANCE_KEY"})
"""Read by the client commands; not settings of the server."""
DEFAULT_SERVER = "http://127.0.0.1:8080"


@dataclass(frozen=True)
class InForce:
    """A setting as it was found, for people to read."""

    variable: str
    value: str | None
    """As somebody would write it; None: unset, or a secret."""
    is_set: bool
    source: str
    """`flag`, `environment`, `file` or `default`."""
    meaning: str
    secret: bool


@dataclass(frozen=True)
class Config:
    host: str
    port: int
    data_dir: Path
    presets_dir: Path
    public_url: str | None
    tls_certificate_file: Path | None
    tls_key_file: Path | None
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] | None
    database_url: str = field(repr=False)
    storage_url: str
    cold_storage_url: str | None
    cold_after_days: int
    hot_usd_per_gb: float
    cold_usd_per_gb: float
    storage_redirect: bool
    scrub_bytes_per_s: int
    scrub_every_days: int
    backup_url: str | None
    backup_every_s: float
    backup_keep: int
    backup_prove_every_s: float
    admin_key: str | None = field(repr=False)
    jwt_secret: str | None = field(repr=False)
    jwt_jwks_url: str | None
    jwt_issuer: str | None
    jwt_audience: str | None
    jwt_roles_claim: str
    oidc_issuer: str | None
    oidc_client_id: str | None
    oidc_client_secret: str | None = field(repr=False)
    oidc_scopes: str
    oidc_name: str | None
    oidc_groups_claim: str
    oidc_roles: Mapping[str, Role]
    oidc_default_role: str
    outgoing: str
    encryption_key: bytes | None = field(repr=False)
    encryption_key_file: Path | None
    max_upload_bytes: int
    max_type_bytes: Mapping[JobType, int] | None
    quota_bytes: int | None
    quota_files: int | None
    rate_uploads: Rate | None
    rate_requests: Rate | None
    rate_anonymous: Rate | None
    max_open_uploads: int
    upload_expiry_s: float
    max_connections_per_client: int
    reserve_bytes: int
    allowed_types: tuple[str, ...]
    max_retries: int
    delete_after_days: int
    delete_results_after_days: int
    heartbeat_timeout_s: float
    stale_after_s: float
    drain_s: float
    workers_image: PoolSize
    workers_pdf: PoolSize
    workers_video: PoolSize
    workers_any: PoolSize
    job_timeout_s: float
    job_idle_timeout_s: float
    job_memory_bytes: int
    sandbox: str
    clamd_url: str | None
    scan: str
    scan_max_bytes: int
    notify_urls: tuple[str, ...] | None = field(repr=False)
    log_format: str
    log_level: str
    cloud_environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables by which clouds tell programs who they are: AWS's own names."""
    in_force: tuple[InForce, ...] = field(default=(), repr=False)
    """All of the above, in the order of `SETTINGS`, with where each came from."""

    @property
    def url(self) -> str:
        """The address that people are told."""
        if self.public_url:
            return self.public_url
        host = "localhost" if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def scheme(self) -> str:
        """What the port speaks, whatever a proxy in front does."""
        return "https" if self.tls_certificate_file else "http"

    @property
    def prices(self) -> Prices:
        return Prices(self.hot_usd_per_gb, self.cold_usd_per_gb)


DEFAULT_TYPES = "image/*,video/*,audio/*,application/*,text/*"


@dataclass(frozen=True)
class Setting:
    name: str
    """In lower case, as in `appliance.toml`; the variable is `APPLIANCE_` and the name."""
    parse: Callable[[str], Any]
    default: str | None
    """As somebody would write it; None: unset."""
    meaning: str
    secret: bool = False
    """Never shown, and no flag: every user of a machine can read command lines."""

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()


def _cores() -> int:
    return len(os.sched_getaffinity(0))


SETTINGS: tuple[Setting, ...] = (
    Setting("host", parse_text, "127.0.0.1", "Address to listen on."),
    Setting("port", parse_port, "8080", "Port to listen on."),
    Setting("data_dir", parse_path, "./data", "Everything that the embedded default keeps."),
    Setting(
        "presets_dir",
        parse_text,
        "<data>/presets",
        "Where presets of your own are, as TOML files; read at the start.",
    ),
    Setting(
        "public_url",
        parse_public_url,
        None,
        "The address users see, for links. Derived from host and port when unset.",
    ),
    Setting(
        "tls_certificate_file",
        parse_path,
        None,
        "Speak TLS, with this certificate (PEM), read again when it changes.",
    ),
    Setting("tls_key_file", parse_path, None, "The certificate's key (PEM, without a password)."),
    Setting(
        "trusted_proxies",
        parse_networks,
        None,
        "Addresses and networks of proxies whose X-Forwarded-For is believed.",
    ),
    Setting(
        "database_url",
        parse_database_url,
        "sqlite:///<data>/appliance.db",
        "Where uploads and jobs are recorded: a file, or PostgreSQL (`postgresql://…`).",
    ),
    Setting(
        "storage_url",
        parse_storage_url,
        "file://<data>/files",
        "Where originals and results are kept: a directory, or a bucket (`s3://…`, `gs://…`).",
    ),
    Setting(
        "cold_storage_url",
        parse_storage_url,
        None,
        "Where originals go when they are old: another disk's directory, or a bucket.",
    ),
    Setting(
        "cold_after_days",
        parse_days,
        "30",
        "How old originals are then; a bucket of AWS has its own cold place. `0` never.",
    ),
    Setting(
        "hot_usd_per_gb",
        parse_usd,
        "0.023",
        "What a gigabyte costs a month where files are kept, in US dollars, for what is told of "
        "costs.",
    ),
    Setting("cold_usd_per_gb", parse_usd, "0.0125", "The same where old originals are."),
    Setting(
        "scrub_bytes_per_s",
        parse_bytes,
        "10MB",
        "How fast stored files are read against their digests, in the background; `0` never.",
    ),
    Setting("scrub_every_days", parse_days, "30", "How often all of them are."),
    Setting(
        "backup_url",
        parse_storage_url,
        None,
        "Where backups are taken to by themselves: a directory on another disk, or a bucket.",
    ),
    Setting("backup_every_s", parse_seconds, "86400", "How often a backup is taken."),
    Setting("backup_keep", parse_kept, "14", "How many backups are kept."),
    Setting(
        "backup_prove_every_s",
        parse_seconds,
        "604800",
        "How often the newest backup is read whole, to prove that it can be restored.",
    ),
    Setting(
        "storage_redirect",
        parse_switch,
        "0",
        "1: downloads of harmless types are sent to the bucket itself, by links of a minute.",
    ),
    Setting(
        "admin_key",
        parse_key,
        None,
        "The first admin key. When unset, one is made at the first start and kept in "
        "`<data>/admin.key`, and a one-time sign-in link is printed.",
        secret=True,
    ),
    Setting(
        "jwt_secret",
        parse_jwt_secret,
        None,
        "Accept JWT bearer tokens that are signed with this secret (HS256).",
        secret=True,
    ),
    Setting(
        "jwt_jwks_url",
        url_with_scheme("https", "http"),
        None,
        "Accept JWT bearer tokens that are signed with a key from there: RS256, ES256, EdDSA.",
    ),
    Setting("jwt_issuer", parse_text, None, "Who must have issued them: their `iss`."),
    Setting("jwt_audience", parse_text, None, "For whom they must be issued: one of their `aud`."),
    Setting(
        "jwt_roles_claim",
        parse_text,
        "roles",
        "Where a token names the role; with dots, within another claim. Without: `user`.",
    ),
    Setting(
        "oidc_issuer",
        url_with_scheme("https", "http"),
        None,
        "Let people sign in at this OpenID provider: its address, just as it calls itself.",
    ),
    Setting("oidc_client_id", parse_text, None, "What this server is called there."),
    Setting(
        "oidc_client_secret",
        parse_text,
        None,
        "The secret that it was given there. A public client has none.",
        secret=True,
    ),
    Setting("oidc_scopes", parse_text, "openid profile email", "What is asked of the provider."),
    Setting(
        "oidc_name", parse_text, None, "What the button calls the provider; else its host's name."
    ),
    Setting(
        "oidc_groups_claim",
        parse_text,
        "groups",
        "Where the provider names the groups of a person; with dots, within another claim.",
    ),
    Setting(
        "oidc_roles",
        parse_group_roles,
        "",
        "Which group has which role, such as `family=user,it=admin`. Who is in several has the one "
        "that may most.",
    ),
    Setting(
        "oidc_default_role",
        one_of("none", *Role),
        "user",
        "The role of who is in none of these groups; `none`: they are not let in.",
    ),
    Setting(
        "outgoing",
        one_of("public", "any"),
        "public",
        "Where the server itself may send requests: by https to public addresses, or to `any`.",
    ),
    Setting(
        "encryption_key",
        parse_encryption_key,
        None,
        "Encrypt stored files with this key: 32 random bytes in base64. Without it they cannot be "
        "read any more, by nobody.",
        secret=True,
    ),
    Setting(
        "encryption_key_file",
        parse_path,
        None,
        "A file with that key instead; further lines hold earlier keys.",
    ),
    Setting("max_upload_bytes", parse_bytes, "10GiB", "Largest file that is taken."),
    Setting(
        "max_type_bytes",
        parse_type_bytes,
        None,
        "Largest file of a type, where that is less: `image=200MB,pdf=500MB`.",
    ),
    Setting(
        "quota_bytes",
        parse_bytes,
        None,
        "Most that one owner may take: originals, results and unfinished uploads together.",
    ),
    Setting(
        "quota_files",
        parse_files,
        None,
        "Most files that one owner may have here: originals and unfinished uploads together.",
    ),
    Setting(
        "rate_uploads",
        parse_rate,
        "6000/min",
        "Uploads that one owner may begin, all at once or one after another; `off`: any number.",
    ),
    Setting(
        "rate_requests",
        parse_rate,
        "60000/min",
        "Requests that one owner may make; `off`: any number.",
    ),
    Setting(
        "rate_anonymous",
        parse_rate,
        "6000/min",
        "Requests that one address may make without being signed in; `off`: any number.",
    ),
    Setting("max_open_uploads", parse_count, "1000", "Unfinished uploads that one owner may have."),
    Setting(
        "upload_expiry_s",
        parse_seconds,
        "86400",
        "How long an unfinished upload is kept after its last byte.",
    ),
    Setting(
        "max_connections_per_client",
        parse_count,
        "200",
        "Connections that one address may have at a time; 0: any number.",
    ),
    Setting(
        "reserve_bytes",
        parse_bytes,
        "256MiB",
        "Free space that uploads leave on the disk; below it they are answered 507.",
    ),
    Setting(
        "allowed_types",
        parse_media_types,
        DEFAULT_TYPES,
        "Media types that are taken, out of those the server can recognise. Programs, scripts "
        "and files of no known kind are taken only when `*/*` is listed.",
    ),
    Setting("max_retries", parse_count, "3", "Retries after a fault that may go away."),
    Setting(
        "delete_after_days",
        parse_days,
        "365",
        "Originals are deleted so long after the end of their job, and with them jobs that have no "
        "results; 0: never. What waits for review stays.",
    ),
    Setting(
        "delete_results_after_days",
        parse_days,
        "0",
        "Results are deleted so long after the end of their job; 0: never.",
    ),
    Setting(
        "heartbeat_timeout_s",
        parse_seconds,
        "60",
        "A worker without a heartbeat for longer is gone, and its jobs are tried again.",
    ),
    Setting(
        "stale_after_s",
        parse_seconds,
        "300",
        "No job stays PROCESSING without a living worker for longer.",
    ),
    Setting(
        "drain_s",
        parse_seconds,
        "30",
        "At SIGTERM, how long running jobs may go on before they are handed back.",
    ),
    Setting("workers_image", parse_pool, f"1-{max(1, _cores())}", "Pool of image workers."),
    Setting("workers_pdf", parse_pool, f"1-{max(1, _cores())}", "Pool of PDF workers."),
    Setting(
        "workers_video",
        parse_pool,
        "1-2",
        "Pool of video workers; each uses several cores. The second is there for small files while "
        "a large one is worked on.",
    ),
    Setting("workers_any", parse_pool, f"1-{max(1, _cores())}", "Pool for every other file."),
    Setting("job_timeout_s", parse_seconds, "3600", "Longest run of one attempt."),
    Setting(
        "job_idle_timeout_s",
        parse_seconds,
        "120",
        "Longest time that an attempt may go without any progress.",
    ),
    Setting("job_memory_bytes", parse_bytes, "2GiB", "Most memory that one attempt may use."),
    Setting(
        "sandbox",
        one_of("require", "prefer", "off"),
        "prefer",
        "Walls around the processes that open files: `require` does not start without them, "
        "`prefer` warns, `off` leaves only the limits on memory, time and size.",
    ),
    Setting(
        "clamd_url",
        parse_clamd_url,
        None,
        "ClamAV's daemon, `tcp://host:3310` or `unix:///path`. Unset: files are marked as not "
        "scanned.",
    ),
    Setting(
        "scan",
        one_of("require", "prefer", "off"),
        "prefer",
        "`require`: only what the scanner finds clean is worked on. `prefer`: what it cannot scan "
        "is worked on too, and marked. `off`: nothing is scanned.",
    ),
    Setting(
        "scan_max_bytes",
        parse_bytes,
        "100MB",
        "Larger files are not sent to the scanner; not above the MaxFileSize of clamd.conf.",
    ),
    Setting(
        "notify_urls",
        parse_notify_urls,
        None,
        "Where operators hear of dead letters and faults: URLs as Apprise has them.",
        secret=True,
    ),
    Setting(
        "log_format", one_of("console", "json"), "console", "Lines for people or for machines."
    ),
    Setting(
        "log_level", one_of("debug", "info", "warning", "error"), "info", "Least level logged."
    ),
)


def load(
    environ: Mapping[str, str],
    *,
    toml_path: Path | None = None,
    flags: Mapping[str, str | None] | None = None,
) -> Config:
    """Read every setting. Raises ConfigurationError with all faults, each with its mend.

    `toml_path` None means `appliance.toml` in the working directory if it is there.
    """
    faults: list[str] = []
    from_file = _read_toml(toml_path, faults)
    known = {setting.name for setting in SETTINGS}
    for name in from_file.keys() - known:
        faults.append(f"appliance.toml: unknown setting {name!r}{_did_you_mean(name, known)}")
    variables = {setting.variable for setting in SETTINGS}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in variables | CLIENT_VARIABLES:
            faults.append(f"{name}: unknown setting{_did_you_mean(name, variables)}")

    values: dict[str, Any] = {}
    found: list[tuple[Setting, str | None, str]] = []
    for setting in SETTINGS:
        text, source, kind = setting.default, setting.variable, "default"
        if flags and flags.get(setting.name) is not None:
            text, source = flags[setting.name], f"--{setting.name.replace('_', '-')}"
            kind = "flag"
        elif setting.variable in environ:
            text, kind = environ[setting.variable], "environment"
        elif setting.name in from_file:
            text, source = str(from_file[setting.name]), f"appliance.toml: {setting.name}"
            kind = "file"
        found.append((setting, text, kind))
        try:
            values[setting.name] = None if text is None else setting.parse(text)
        except ValueError as error:
            shown = "what is set" if setting.secret else repr(text)
            faults.append(f"{source}: {shown} is not valid; {error}.")
    if not faults:
        faults += _contradictions(values)
    if faults:
        raise ConfigurationError(faults)
    for name in ("database_url", "storage_url"):
        values[name] = values[name].replace("<data>", quote(str(values["data_dir"])))
    presets_dir = values["presets_dir"].replace("<data>", str(values["data_dir"]))
    values["presets_dir"] = parse_path(presets_dir)
    in_force = tuple(_in_force(*one, data_dir=values["data_dir"]) for one in found)
    cloud_environ = {name: value for name, value in environ.items() if name.startswith("AWS_")}
    return Config(**values, cloud_environ=cloud_environ, in_force=in_force)


def _in_force(setting: Setting, text: str | None, source: str, *, data_dir: Path) -> InForce:
    value = None
    if text is not None and not setting.secret:
        value = _without_password(text.replace("<data>", str(data_dir)))
    return InForce(
        variable=setting.variable,
        value=value,
        is_set=text is not None,
        source=source,
        meaning=setting.meaning,
        secret=setting.secret,
    )


def _without_password(text: str) -> str:
    """An address without what its `user:password@` says."""
    return re.sub(r"(://)[^/?#]*@", r"\1…@", text)


def _read_toml(path: Path | None, faults: list[str]) -> dict[str, Any]:
    chosen = path or Path("appliance.toml")
    if path is None and not chosen.exists():
        return {}
    try:
        return tomllib.loads(chosen.read_text(encoding="utf-8"))
    except OSError as error:
        faults.append(f"{chosen}: cannot be read ({error.strerror}); check the path given.")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{chosen}: is not valid TOML ({error}).")
    return {}


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    faults = []
    if values["stale_after_s"] < values["heartbeat_timeout_s"]:
        faults.append(
            "APPLIANCE_STALE_AFTER_S: must not be shorter than APPLIANCE_HEARTBEAT_TIMEOUT_S "
            f"({values['heartbeat_timeout_s']:g})."
        )
    if values["job_memory_bytes"] < 64 * 1024**2:
        faults.append("APPLIANCE_JOB_MEMORY_BYTES: media work needs at least 64MiB.")
    if values["scan"] == "require" and values["clamd_url"] is None:
        faults.append("APPLIANCE_SCAN: require needs a scanner; set APPLIANCE_CLAMD_URL.")
    if values["jwt_secret"] and values["jwt_jwks_url"]:
        faults.append("APPLIANCE_JWT_SECRET, APPLIANCE_JWT_JWKS_URL: set one of them only.")
    if values["jwt_secret"] or values["jwt_jwks_url"]:
        for name in ("jwt_issuer", "jwt_audience"):
            if values[name] is None:
                faults.append(
                    f"{PREFIX}{name.upper()}: must be set with tokens, else those that were issued "
                    "for others would be taken."
                )
    if values["encryption_key"] and values["encryption_key_file"]:
        faults.append(
            "APPLIANCE_ENCRYPTION_KEY, APPLIANCE_ENCRYPTION_KEY_FILE: set one of them only."
        )
    if values["jwt_audience"] and not (values["jwt_issuer"] or values["oidc_issuer"]):
        faults.append(
            "APPLIANCE_JWT_AUDIENCE: needs APPLIANCE_JWT_ISSUER, or APPLIANCE_OIDC_ISSUER."
        )
    if (values["oidc_issuer"] is None) != (values["oidc_client_id"] is None):
        faults.append("APPLIANCE_OIDC_ISSUER, APPLIANCE_OIDC_CLIENT_ID: set both, or neither.")
    if values["oidc_issuer"] and "openid" not in values["oidc_scopes"].split():
        faults.append("APPLIANCE_OIDC_SCOPES: must have openid among them.")
    if values["oidc_issuer"] and values["oidc_default_role"] == "none" and not values["oidc_roles"]:
        faults.append(
            "APPLIANCE_OIDC_DEFAULT_ROLE: none lets nobody in without APPLIANCE_OIDC_ROLES."
        )
    if (values["tls_certificate_file"] is None) != (values["tls_key_file"] is None):
        faults.append(
            "APPLIANCE_TLS_CERTIFICATE_FILE, APPLIANCE_TLS_KEY_FILE: set both of them, or none."
        )
    elif values["tls_key_file"] and (values["public_url"] or "").startswith("http:"):
        faults.append("APPLIANCE_PUBLIC_URL: with a certificate set, it begins with https:.")
    if values["max_upload_bytes"] < 1:
        faults.append("APPLIANCE_MAX_UPLOAD_BYTES: must be at least 1.")
    if any(size < 1 for size in (values["max_type_bytes"] or {}).values()):
        faults.append("APPLIANCE_MAX_TYPE_BYTES: each must be at least 1.")
    return faults


def _did_you_mean(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else "; see `appliance serve --help`."


# --- the client commands -----------------------------------------------------------------


@dataclass(frozen=True)
class ClientConfig:
    """What the client commands need, and no setting of a server's."""

    server_url: str
    """Scheme, host and port."""
    key: str
    state_dir: Path
    """Where uploads under way are noted."""


def load_client(
    environ: Mapping[str, str], *, server: str | None = None, key: str | None = None
) -> ClientConfig:
    """`server` and `key` are flags. Raises ConfigurationError with all faults, and their mends."""
    faults: list[str] = []
    url = (server or environ.get("APPLIANCE_SERVER") or DEFAULT_SERVER).strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or "@" in url:
        faults.append(
            f"{'--server' if server else 'APPLIANCE_SERVER'}: {url!r} is not valid; give scheme, "
            "host and port, such as http://127.0.0.1:8080 or https://files.example.org."
        )
    secret = (key or environ.get("APPLIANCE_KEY") or "").strip()
    if not secret:
        faults.append(
            "No API key. Set APPLIANCE_KEY (or give --key). On the server, `appliance keys create "
            "NAME` makes one; the first one lies in `admin.key` in its data directory."
        )
    elif not secret.isascii() or not secret.isprintable() or " " in secret:
        faults.append("The API key has characters that no key has. Copy it once more.")
    if faults:
        raise ConfigurationError(faults)
    home = Path(environ.get("HOME") or "~").expanduser()
    # XDG Base Directory Specification 0.8: a relative path is to be ignored.
    told = environ.get("XDG_STATE_HOME", "")
    state = Path(told) if told.startswith("/") else home / ".local" / "state"
    return ClientConfig(url, secret, state / "appliance")
