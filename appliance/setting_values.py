"""What people write in settings, to values: one parser for each kind.

Each raises ValueError with the mend.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from appliance.jobs import JobType
from appliance.permissions import Role
from appliance.rates import Rate
from appliance.store_urls import parse_bucket_url


@dataclass(frozen=True)
class PoolSize:
    """How many workers of one type: never fewer than `smallest`, never more than `largest`."""

    smallest: int
    largest: int

    def __str__(self) -> str:
        return f"{self.smallest}-{self.largest}"


_UNITS = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", start=1):
    _UNITS |= {_letter: 1024**_power, f"{_letter}b": 1000**_power, f"{_letter}ib": 1024**_power}


def parse_bytes(text: str) -> int:
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{1,18})?)\s*([a-z]*)", text.strip().lower())
    if not match or match[2] not in _UNITS:
        raise ValueError("give a size such as 500000000, 500MB or 10GiB")
    return int(float(match[1]) * _UNITS[match[2]])


def parse_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise ValueError("give a number of seconds above 0")
    return seconds


def parse_count(text: str) -> int:
    if not re.fullmatch(r"\d{1,4}", text.strip()):
        raise ValueError("give a whole number from 0 to 9999")
    return int(text)


_PERIODS_S = {"s": 1.0, "min": 60.0, "h": 3600.0}


def parse_rate(text: str) -> Rate | None:
    """None: any number."""
    if text.strip().lower() in ("0", "off"):
        return None
    match = re.fullmatch(r"([1-9]\d{0,6})\s*/\s*(s|min|h)", text.strip().lower())
    if not match:
        raise ValueError("give so many in a while, such as 10/s, 600/min or 5000/h, or off")
    return Rate(int(match[1]), _PERIODS_S[match[2]])


def parse_usd(text: str) -> float:
    if not re.fullmatch(r"\d{1,4}(\.\d{1,8})?", text.strip()):
        raise ValueError("give a price in US dollars, such as 0.023")
    return float(text)


def parse_files(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,11}", text.strip()):
        raise ValueError("give a whole number of files above 0, or leave it unset")
    return int(text)


def parse_kept(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,3}", text.strip()):
        raise ValueError("give a whole number from 1 to 9999")
    return int(text)


def parse_type_bytes(text: str) -> Mapping[JobType, int]:
    found: dict[JobType, int] = {}
    for pair in text.split(","):
        name, equals, size = pair.partition("=")
        known = name.strip().upper() in JobType.__members__
        if not known or not equals or JobType[name.strip().upper()] in found:
            raise ValueError("give sizes of image, pdf, video and any, such as image=200MB,pdf=1GB")
        found[JobType[name.strip().upper()]] = parse_bytes(size)
    return found


def parse_days(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text.strip()):
        raise ValueError("give a whole number of days, 0 for never")
    return int(text)


def parse_port(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text.strip()) or not 0 <= int(text) <= 65535:
        raise ValueError("give a port from 1 to 65535 (0 takes any free one)")
    return int(text)


def parse_pool(text: str) -> PoolSize:
    match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", text.strip())
    if not match:
        raise ValueError("give a number of workers such as 2, or a range such as 1-4")
    smallest, largest = int(match[1]), int(match[2] or match[1])
    if smallest > largest:
        raise ValueError(f"the smallest pool comes first: {largest}-{smallest}")
    return PoolSize(smallest, largest)


def parse_text(text: str) -> str:
    if not text.strip():
        raise ValueError("give a value, or leave it unset")
    return text.strip()


def parse_path(text: str) -> Path:
    return Path(parse_text(text)).expanduser().absolute()


def parse_public_url(text: str) -> str:
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise ValueError("give scheme and host, such as https://files.example.org")
    return text.strip().rstrip("/")


def parse_media_types(text: str) -> tuple[str, ...]:
    types = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    for media_type in types:
        if not re.fullmatch(r"[a-z0-9.+-]+/(\*|[a-z0-9.+-]+)|\*/\*", media_type):
            raise ValueError("give media types with commas between, such as image/*,video/mp4")
    if not types:
        raise ValueError("name at least one media type, or leave it unset")
    return types


def parse_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        networks = tuple(ip_network(part) for part in re.split(r"[\s,]+", text.strip()))
    except ValueError:
        networks = ()
    if not networks or any(network.prefixlen == 0 for network in networks):
        raise ValueError(
            "give addresses or networks with commas between, such as 127.0.0.1,10.1.0.0/24; the "
            "whole internet is none"
        )
    return networks


def parse_key(text: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{24,200}", text.strip()):
        raise ValueError(
            "give 24 to 200 printable characters without spaces, such as `openssl rand -hex 24`"
        )
    return text.strip()


def parse_encryption_key(text: str) -> bytes:
    """32 bytes, in hexadecimal or base64."""
    text = text.strip()
    try:
        key = bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError("give 32 random bytes in base64, such as `openssl rand -base64 32`")
    return key


def parse_jwt_secret(text: str) -> str:
    if len(text.strip().encode()) < 32:  # RFC 7518, 3.2: no shorter than the hash
        raise ValueError("give at least 32 characters, such as `openssl rand -hex 32`")
    return text.strip()


def parse_notify_urls(text: str) -> tuple[str, ...]:
    """Between two URLs there is a comma or white space; within one, a comma may stand."""
    urls = tuple(re.split(r"[\s,]+(?=[A-Za-z0-9]+://)", text.strip(" \t\r\n,")))
    if not all(re.fullmatch(r"[A-Za-z0-9]+://\S+", url) for url in urls):
        raise ValueError(
            "give URLs as Apprise has them, with commas between, such as "
            "mailto://user:password@example.org"
        )
    return urls


def parse_group_roles(text: str) -> Mapping[str, Role]:
    roles = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        group, equals, role = pair.rpartition("=")
        if not equals or not group.strip() or role.strip() not in set(Role):
            raise ValueError(
                "give groups and their roles with commas between, such as "
                f"family=user,it=admin; roles are {', '.join(Role)}"
            )
        roles[group.strip()] = Role(role.strip())
    return roles


def parse_clamd_url(text: str) -> str:
    parts = urlsplit(text.strip())
    if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
        return text.strip()
    if parts.scheme == "tcp" and parts.hostname and not parts.path:
        _ = parts.port  # raises ValueError for one beyond 65535
        return text.strip()
    raise ValueError("give tcp://host:3310 or unix:///run/clamav/clamd.ctl")


def parse_database_url(text: str) -> str:
    text = url_with_scheme("sqlite", "postgresql")(text)
    parts = urlsplit(text)
    if parts.scheme == "postgresql" and "password" in parse_qs(parts.query):
        raise ValueError("a password goes before the host, postgresql://user:password@host/name")
    return text


def parse_storage_url(text: str) -> str:
    text = url_with_scheme("file", "s3", "gs")(text)
    if not text.startswith("file:"):
        parse_bucket_url(text)
    return text


def parse_switch(text: str) -> bool:
    if text.strip() not in ("0", "1"):
        raise ValueError("give 1 or 0")
    return text.strip() == "1"


def one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.strip().lower() not in words:
            raise ValueError(f"give one of {', '.join(words)}")
        return text.strip().lower()

    return parse


def url_with_scheme(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        scheme = urlsplit(text.strip()).scheme
        if scheme not in schemes:
            known = " or ".join(f"{known}://…" for known in schemes)
            raise ValueError(f"this version knows {known}, not {scheme or 'a bare word'}")
        return text.strip()

    return parse


# --- the table ----------------------------------------------------------------------------
