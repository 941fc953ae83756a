"""The URLs of stores: `s3://bucket/prefix?endpoint=…&region=…`, `gs://bucket/prefix`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

COLD_ON_AWS = "STANDARD_IA"
ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")
"""Classes of S3 that give out nothing before somebody has asked for it hours earlier: reading what
is cold has to work at once. (ARCHIVE of Google does.)"""
NONE = "none"
T = TypeVar("T")


@dataclass(frozen=True)
class BucketUrl:
    """One bucket of an object store, or what lies below a prefix of it."""

    scheme: str
    bucket: str
    prefix: str = ""
    """Without slashes at its ends; empty: the whole bucket."""
    endpoint: str | None = None
    """Scheme, host and port; None: AWS, or Google."""
    region: str | None = None
    path_style: bool = False
    """The bucket is in the path, not in the name of the host."""
    ca_file: Path | None = None
    """PEM; who is trusted to speak for the endpoint, instead of the usual ones."""
    cold_class: str | None = None
    """The storage class of what is moved to the cold place; None: there is none."""

    def __str__(self) -> str:
        return f"{self.scheme}://{'/'.join(filter(None, (self.bucket, self.prefix)))}"


_OPTIONS: dict[str, tuple[str, ...]] = {
    "s3": ("endpoint", "region", "path_style", "ca", "cold_class"),
    "gs": ("endpoint", "cold_class"),
}


def parse_bucket_url(text: str) -> BucketUrl:
    """Raises ValueError with the mend."""
    parts = urlsplit(text.strip())
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = _OPTIONS[parts.scheme]
    for name in options:
        if name not in known:
            raise ValueError(f"there is no option {name}; there are {', '.join(known)}")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]", parts.netloc):
        raise ValueError(f"name the bucket, such as {parts.scheme}://files")
    prefix = unquote(parts.path).strip("/")
    if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
        raise ValueError("a prefix has plain names between single slashes")
    endpoint = _option(options, "endpoint", _endpoint)
    cold_class = _option(options, "cold_class", _storage_class)
    if cold_class is None and endpoint is None:
        cold_class = COLD_ON_AWS if parts.scheme == "s3" else "NEARLINE"
    path_style = _option(options, "path_style", _yes_or_no)
    return BucketUrl(
        scheme=parts.scheme,
        bucket=parts.netloc,
        prefix=prefix,
        endpoint=endpoint,
        region=_option(options, "region", _region),
        path_style=endpoint is not None if path_style is None else path_style,
        ca_file=_option(options, "ca", _ca_file),
        cold_class=None if cold_class == NONE else cold_class,
    )


def _option(options: dict[str, str], name: str, parse: Callable[[str], T]) -> T | None:
    return parse(options[name]) if name in options else None


def _endpoint(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise ValueError("endpoint is scheme, host and port, such as https://s3.example.org:9000")
    _ = parts.port  # raises ValueError for one beyond 65535
    return text.rstrip("/")


def _region(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,40}", text):
        raise ValueError("region is a name such as eu-central-1")
    return text


def _yes_or_no(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("path_style is 1 or 0")
    return text == "1"


def _ca_file(text: str) -> Path:
    if not text.startswith("/"):
        raise ValueError("ca is the path of a PEM file, beginning with /")
    return Path(text)


def _storage_class(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", text):
        raise ValueError(f"cold_class is a storage class such as {COLD_ON_AWS}, or {NONE}")
    if text.upper() in ARCHIVED:
        raise ValueError(
            f"cold_class={text}: what lies in that class cannot be read for hours, so neither "
            "downloads nor jobs nor backups would get it. GLACIER_IR is as cold, and read at once"
        )
    return text
