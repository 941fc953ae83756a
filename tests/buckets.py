"""Real object stores (scripts/services), with a bucket made for the tests."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import quote

import pytest

from appliance.clock import Clock
from appliance.errors import StorageRefused
from appliance.parts import open_bucket
from appliance.storage.buckets.protocol import Bucket
from appliance.storage.buckets.s3 import S3Bucket
from appliance.storage.object_store import ObjectStorage
from appliance.store_urls import parse_bucket_url

BUCKET = "appliance"
SERVICES = Path(__file__).parents[1] / "scripts/services"
SERVERS = {"swift": "SWIFT_URL", "moto": "MOTO_URL", "gcs": "GCS_URL"}
MAX_OBJECT_BYTES = 10 * 1024**3
RUN = secrets.token_hex(4)
"""Of this run: the stores outlive it."""


@cache
def _running() -> Mapping[str, str]:
    """What the environment says, else what `scripts/services` has started here."""
    if any(name in os.environ for name in SERVERS.values()):
        return os.environ
    told = subprocess.run((SERVICES, "env", *SERVERS), capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in told.stdout.splitlines())


def endpoint(kind: str) -> str:
    """Skips the test where the server is not there."""
    url = _running().get(SERVERS[kind])
    if url is None:
        pytest.skip(f"{kind} does not run: `scripts/services start {kind}`")
    return url


def url(
    kind: str, *, prefix: str, name: str = BUCKET, through: str | None = None, **options: str
) -> str:
    """As APPLIANCE_STORAGE_URL; `through` a proxy."""
    scheme = "gs" if kind == "gcs" else "s3"
    options = {"endpoint": through or endpoint(kind), **options}
    query = "&".join(f"{option}={quote(value)}" for option, value in options.items())
    return f"{scheme}://{name}/{RUN}/{prefix}?{query}"


def environ(kind: str) -> Mapping[str, str]:
    if kind == "swift":
        return {
            "AWS_ACCESS_KEY_ID": _running()["SWIFT_KEY"],
            "AWS_SECRET_ACCESS_KEY": _running()["SWIFT_SECRET"],
        }
    return {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}


async def bucket(
    kind: str,
    *,
    prefix: str,
    name: str = BUCKET,
    through: str | None = None,
    clock: Clock | None = None,
    **options: str,
) -> Bucket:
    """The bucket is there when this returns."""
    address = url(kind, prefix=prefix, name=name, through=through, **options)
    found = open_bucket(parse_bucket_url(address), environ(kind), clock=clock)
    if isinstance(found, S3Bucket) and (kind, name) not in _made:
        with contextlib.suppress(StorageRefused):  # it is there from an earlier run
            await found.ask("PUT", None)
        _made.add((kind, name))
    return found


_made: set[tuple[str, str]] = set()


async def opened(
    kind: str, folder: Path, *, prefix: str, clock: Clock | None = None, **options: str
) -> ObjectStorage:
    spool_dir = folder / "spool"
    spool_dir.mkdir(exist_ok=True)
    made = await bucket(kind, prefix=prefix, clock=clock, **options)
    return ObjectStorage(made, spool_dir, max_object_bytes=MAX_OBJECT_BYTES)
