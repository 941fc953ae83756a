"""What the upper layers share: the backends that the configuration chooses, and what is made of
them. The only module that names a concrete backend.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from appliance import data_dir
from appliance.acts import Acts
from appliance.backups.backups import Backups
from appliance.clock import Clock, SystemClock
from appliance.config import Config
from appliance.coordination.memory import MemoryCoordination
from appliance.coordination.protocol import Coordination
from appliance.database import stored_files
from appliance.database.ownership import Quota
from appliance.database.protocol import Database
from appliance.database.sqlite import SqliteDatabase
from appliance.directories import make_directory, sync_directory
from appliance.errors import ApplianceError, ConfigurationError, StorageUnavailable
from appliance.intake.admission import Admission, IntakeLimits
from appliance.intake.resumable import ResumableUploads
from appliance.jobs import AWAITED, Scan
from appliance.metrics import Metrics
from appliance.notify.announcer import Announcer
from appliance.notify.apprise import AppriseMessenger
from appliance.notify.operators import Messenger
from appliance.queue.protocol import Queue
from appliance.queue.table import TableQueue
from appliance.scanning.clamd import ClamdScanner
from appliance.scanning.protocol import Scanner
from appliance.setting_values import parse_encryption_key
from appliance.storage.buckets.protocol import Bucket
from appliance.storage.buckets.s3 import DEFAULT_REGION, S3Bucket
from appliance.storage.buckets.s3_credentials import CredentialSource
from appliance.storage.conversion import Conversion
from appliance.storage.encrypted import EncryptedStorage
from appliance.storage.keyring import is_encrypted, master_keys, open_keyring
from appliance.storage.local import LocalStorage
from appliance.storage.object_store import ObjectStorage
from appliance.storage.protocol import Storage
from appliance.storage.tiered import TieredStorage
from appliance.store_urls import BucketUrl, parse_bucket_url
from appliance.threads import in_thread

if TYPE_CHECKING:
    from appliance.database.postgres import PostgresDatabase

NO_SCANNER = Scan(verdict="not_scanned", reason="no scanner is set")


@dataclass(frozen=True)
class Parts:
    """What the upper layers share."""

    clock: Clock
    metrics: Metrics
    database: Database
    storage: Storage
    coordination: Coordination
    queue: Queue
    scanner: Scanner | None
    """None: files are not scanned."""
    announcer: Announcer
    acts: Acts
    admission: Admission
    uploads: ResumableUploads | None


async def open_parts(stack: AsyncExitStack, config: Config) -> Parts:
    clock = SystemClock()
    database = await open_database(config)
    stack.push_async_callback(database.close)
    storage = await open_storage(config)
    stack.push_async_callback(storage.close)
    coordination = MemoryCoordination(clock)
    queue = TableQueue(database, clock)
    scanner = open_scanner(config)
    announcer = Announcer(coordination)
    admission = Admission(
        storage=storage,
        database=database,
        clock=clock,
        limits=IntakeLimits(
            max_upload_bytes=config.max_upload_bytes,
            reserve_bytes=config.reserve_bytes,
            allowed_types=config.allowed_types,
            max_retries=config.max_retries,
            max_type_bytes=config.max_type_bytes or {},
            quota=Quota(size_bytes=config.quota_bytes, files=config.quota_files),
            max_open_uploads=config.max_open_uploads,
            upload_expiry_s=config.upload_expiry_s,
        ),
        scan=NO_SCANNER if scanner is None else AWAITED,
    )
    uploads = None
    if storage.partials is not None:
        uploads = ResumableUploads(
            admission,
            storage=storage,
            partials=storage.partials,
            database=database,
            queue=queue,
            announcer=announcer,
            clock=clock,
        )
    return Parts(
        clock=clock,
        metrics=Metrics(),
        database=database,
        storage=storage,
        coordination=coordination,
        queue=queue,
        scanner=scanner,
        announcer=announcer,
        acts=Acts(database, storage, queue, announcer, clock),
        admission=admission,
        uploads=uploads,
    )


async def open_database(config: Config) -> Database:
    """Raises ConfigurationError, DatabaseCorrupt, DatabaseUnavailable."""
    path = database_path(config)
    if path is None:
        return await _postgres().open(config.database_url)
    path.parent.mkdir(parents=True, exist_ok=True)
    return await SqliteDatabase.open(path)


def _postgres() -> type[PostgresDatabase]:
    """Raises ConfigurationError where its driver is not installed."""
    try:
        from appliance.database.postgres import PostgresDatabase
    except ImportError as error:
        raise ConfigurationError(
            [
                "APPLIANCE_DATABASE_URL: postgresql:// needs a package that is not installed. "
                "Install it: pip install 'upload-appliance[postgres]'"
            ]
        ) from error
    return PostgresDatabase


async def open_database_at(path: Path) -> Database:
    """A copy in a file of its own, brought up to date. Raises DatabaseCorrupt."""
    return await SqliteDatabase.open(path)


@asynccontextmanager
async def beside(config: Config) -> AsyncIterator[tuple[Database, Acts]]:
    """The database and what people do to jobs, for a command beside a running server.

    Announcements reach nobody: the server finds what became PENDING when it looks, within 2 s.
    The storage is not opened: that would discard what the server is receiving.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        storage = store_beside(config)
        stack.push_async_callback(storage.close)
        database = await open_database(config)
        stack.push_async_callback(database.close)
        queue, announcer = TableQueue(database, clock), Announcer(MemoryCoordination(clock))
        yield database, Acts(database, storage, queue, announcer, clock)


def open_scanner(config: Config) -> Scanner | None:
    if config.clamd_url is None or config.scan == "off":
        return None
    return ClamdScanner(config.clamd_url, max_bytes=config.scan_max_bytes)


async def open_storage(config: Config) -> Storage:
    """Raises ConfigurationError for a store that cannot be used as it is set, and for a key that
    does not fit what is stored."""
    storage = await open_store(config)
    try:
        return await _with_encryption(storage, encryption_secrets(config))
    except BaseException:
        await storage.close()
        raise


@asynccontextmanager
async def storage_beside(config: Config) -> AsyncIterator[Storage]:
    """The store as the server has it, for a command beside it. Raises ConfigurationError."""
    storage = store_beside(config)
    try:
        yield await _with_encryption(storage, encryption_secrets(config))
    finally:
        await storage.close()


async def _with_encryption(storage: Storage, secrets: Sequence[bytes]) -> Storage:
    if secrets:
        return EncryptedStorage(storage, await open_keyring(storage, secrets))
    if await is_encrypted(storage):
        raise ConfigurationError(
            [
                "APPLIANCE_ENCRYPTION_KEY: the stored files are encrypted; set the key that they "
                "were encrypted with, or APPLIANCE_ENCRYPTION_KEY_FILE."
            ]
        )
    return storage


@asynccontextmanager
async def conversion(config: Config) -> AsyncIterator[Conversion | None]:
    """For a command beside a running server, as `beside`; None: files are not encrypted.

    Raises ConfigurationError.
    """
    places = _places_beside(config)
    storage = _one_of(places, config)
    try:
        secrets = encryption_secrets(config)
        if not secrets or not await is_encrypted(storage):
            yield None
            return
        keyring = await open_keyring(storage, secrets)
        fingerprint = master_keys(secrets)[0].key_id.hex()
        yield Conversion(storage, keyring, places=places, fingerprint=fingerprint)
    finally:
        await storage.close()


def encryption_secrets(config: Config) -> list[bytes]:
    """The master keys, the one in force first; empty: files are not encrypted.

    Raises ConfigurationError.
    """
    if config.encryption_key is not None:
        return [config.encryption_key]
    path = config.encryption_key_file
    if path is None:
        return []
    try:
        lines = [line for line in path.read_text("ascii").splitlines() if line.strip()]
        secrets = [parse_encryption_key(line) for line in lines]
    except OSError as error:
        fault = f"{path} cannot be read ({error.strerror})"
    except ValueError as error:
        fault = f"a line of {path} is not valid; {error}"
    else:
        if secrets:
            return secrets
        fault = f"{path} is empty; write a key into it: `openssl rand -base64 32`"
    raise ConfigurationError([f"APPLIANCE_ENCRYPTION_KEY_FILE: {fault}."])


async def open_store(config: Config) -> Storage:
    """With its cold place, where one is set. Raises ConfigurationError."""
    hot = await _open_hot(config)
    if config.cold_storage_url is None:
        return hot
    try:
        cold = await _open_cold(config, config.cold_storage_url)
        return TieredStorage(hot, cold, reserve_bytes=config.reserve_bytes)
    except BaseException:
        await hot.close()
        raise


async def _open_hot(config: Config) -> Storage:
    if config.storage_url.startswith("file:"):
        return await asyncio.to_thread(LocalStorage.open, _storage_path(config))
    await asyncio.to_thread(data_dir.empty_spool, config.data_dir)
    storage = _hot_beside(config)
    try:
        await storage.check()
    except StorageUnavailable as error:
        await storage.close()
        raise ConfigurationError([f"APPLIANCE_STORAGE_URL: {error.detail}"]) from error
    return storage


def store_beside(config: Config) -> Storage:
    """Without clearing away what a running server is receiving. Raises ConfigurationError."""
    return _one_of(_places_beside(config), config)


def _places_beside(config: Config) -> list[Storage]:
    """The hot one, and the cold one where there is one. Raises ConfigurationError."""
    hot = _hot_beside(config)
    if config.cold_storage_url is None:
        return [hot]
    return [hot, _place_beside(config, config.cold_storage_url)]


def _one_of(places: Sequence[Storage], config: Config) -> Storage:
    hot, *cold = places
    return TieredStorage(hot, *cold, reserve_bytes=config.reserve_bytes) if cold else hot


def _hot_beside(config: Config) -> Storage:
    if config.storage_url.startswith("file:"):
        return LocalStorage(_storage_path(config))
    bucket = open_bucket(parse_bucket_url(config.storage_url), config.cloud_environ)
    spool_dir = data_dir.spool(config.data_dir)
    return ObjectStorage(bucket, spool_dir, max_object_bytes=config.max_upload_bytes)


def open_bucket(
    url: BucketUrl, environ: Mapping[str, str], *, clock: Clock | None = None
) -> Bucket:
    """Raises ConfigurationError."""
    clock = clock or SystemClock()
    if url.scheme == "s3":
        region = url.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        source = CredentialSource(environ)
        return S3Bucket(url, source, region=region or DEFAULT_REGION, clock=clock)
    try:
        from appliance.storage.buckets.gcs import GcsBucket
    except ImportError as error:
        raise ConfigurationError(
            [
                "APPLIANCE_STORAGE_URL: gs:// needs a package that is not installed. Install it: "
                "pip install 'upload-appliance[gcs]'"
            ]
        ) from error
    return GcsBucket(url, clock=clock)


@asynccontextmanager
async def backups(
    config: Config,
    url: str,
    *,
    database: Database,
    clock: Clock,
    counted: Callable[[int], None] = lambda size_bytes: None,
) -> AsyncIterator[Backups]:
    """Of this appliance, at that place; beside a running server too. Raises ConfigurationError."""
    async with AsyncExitStack() as stack:
        store = store_beside(config)
        stack.push_async_callback(store.close)
        place = await open_backup_place(config, url)
        stack.push_async_callback(place.close)
        yield Backups(
            database=database,
            store=store,
            is_encrypted=await is_encrypted(store),
            place=place,
            url=url,
            data_dir=config.data_dir,
            keep=config.backup_keep,
            open_copy=open_database_at,
            clock=clock,
            counted=counted,
        )


async def _open_cold(config: Config, url: str) -> Storage:
    """Raises ConfigurationError, also where a disk that was there is not mounted."""
    if url.startswith("file:"):
        data_dir.check_cold_place(config.data_dir, _path_of(url))
    try:
        place = await _open_place(config, url, "raw")
    except ConfigurationError as error:
        faults = [f"APPLIANCE_COLD_STORAGE_URL: {fault}" for fault in error.faults]
        raise ConfigurationError(faults) from error
    if url.startswith("file:"):
        data_dir.mark_cold_place(config.data_dir, _path_of(url))
    return place


async def open_backup_place(config: Config, url: str) -> Storage:
    """A store that holds backups only. Raises ConfigurationError."""
    return await _open_place(config, url)


async def _open_place(config: Config, url: str, *folders: str) -> Storage:
    """Another store than that of uploads, reached once. Raises ConfigurationError."""
    if url.startswith("file:"):
        path = _path_of(url)
        try:
            return await asyncio.to_thread(LocalStorage.open, path, folders=folders)
        except ApplianceError as error:
            raise ConfigurationError([f"{path} cannot be written: {error.detail}"]) from error
    await asyncio.to_thread(make_directory, data_dir.spool(config.data_dir))
    place = _place_beside(config, url)
    try:
        await place.check()
    except StorageUnavailable as error:
        await place.close()
        raise ConfigurationError([f"{parse_bucket_url(url)}: {error.detail}"]) from error
    return place


def _place_beside(config: Config, url: str) -> Storage:
    if url.startswith("file:"):
        return LocalStorage(_path_of(url))
    bucket = open_bucket(parse_bucket_url(url), config.cloud_environ)
    spool_dir = data_dir.spool(config.data_dir)
    return ObjectStorage(bucket, spool_dir, max_object_bytes=config.max_upload_bytes)


def _path_of(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def database_path(config: Config) -> Path | None:
    """Of SQLite's file; None: the database is on a server."""
    return _path_of(config.database_url) if config.database_url.startswith("sqlite:") else None


def has_database(config: Config) -> bool:
    """Whether this machine has the appliance's own, to record things in."""
    path = database_path(config)
    return path is None or path.exists()


async def database_in_place(config: Config) -> str | None:
    """What is in the way of a database that comes from a backup; None: nothing."""
    path = database_path(config)
    if path is not None:
        return f"the database {path}" if await in_thread(path.exists) else None
    database = await _postgres().open(config.database_url)
    try:
        has_files = await database.read(stored_files.originals_named("", limit=1))
    finally:
        await database.close()
    return "files in the database on PostgreSQL" if has_files else None


def coming_database(config: Config) -> Path:
    """Where a database from a backup is made ready."""
    path = database_path(config) or config.data_dir / "database"
    return path.with_name(path.name + ".restoring")


async def adopt_database(config: Config, coming: Path) -> None:
    """Make that file the appliance's database, in one step."""
    path = database_path(config)
    if path is not None:
        await in_thread(coming.replace, path)
        sync_directory(path.parent)
        return
    database = await _postgres().open(config.database_url)
    try:
        await database.take_in(coming)
    finally:
        await database.close()
    await in_thread(coming.unlink)


def _storage_path(config: Config) -> Path:
    return _path_of(config.storage_url)


async def open_messenger(config: Config) -> Messenger | None:
    """What tells the operators; None: nobody is to be told. Raises ConfigurationError."""
    if config.notify_urls is None:
        return None
    messenger = AppriseMessenger(config.notify_urls)
    await messenger.check()
    return messenger
