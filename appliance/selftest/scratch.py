"""The self-test's own place: beside the user's data, on the same disk, and nothing of theirs.

    <data>/selftest-<id>/           data directory and log of the server that is tried
    <storage>/selftest-<id>/        its files, where the storage lies elsewhere
    <database's>/selftest-<id>/     its database, likewise

The directories are locked while a self-test runs. One that was killed leaves them behind, and the
next removes what nobody holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from appliance.config import Config
from appliance.errors import ConfigurationError
from appliance.ids import is_id, new_id, time_of

PREFIX = "selftest-"
FRESH_S = 10.0
"""A directory younger than this may not have come to its lock yet."""


@dataclass(frozen=True)
class Scratch:
    root: Path
    apart: dict[str, Path] = field(default_factory=dict)
    """Directories elsewhere, where the user's settings say so: `storage`, `database`."""

    @property
    def storage(self) -> Path:
        return self.apart.get("storage", self.root) / "files"

    @property
    def database(self) -> Path:
        return self.apart.get("database", self.root) / "appliance.db"

    @property
    def log(self) -> Path:
        return self.root / "server.log"

    @property
    def settings(self) -> dict[str, str]:
        """Of a server that keeps everything here; names as in the environment."""
        return {
            "APPLIANCE_DATA_DIR": str(self.root / "data"),
            "APPLIANCE_STORAGE_URL": f"file://{quote(str(self.storage))}",
            "APPLIANCE_DATABASE_URL": f"sqlite://{quote(str(self.database))}",
        }


@contextmanager
def scratch(config: Config, *, room_bytes: int) -> Iterator[Scratch]:
    """Make the place, and remove it at the end with every directory that was made for it.

    Raises ConfigurationError when it cannot be made, or when less than `room_bytes` would be
    left there above what the server keeps free.
    """
    name = PREFIX + new_id()
    with ExitStack() as stack:
        root = _directory(stack, config.data_dir, name, setting="APPLIANCE_DATA_DIR")
        apart = {}
        made = {}
        for part, parent in _elsewhere(config).items():
            if parent not in made:
                setting = f"APPLIANCE_{part.upper()}_URL"
                made[parent] = _directory(stack, parent, name, setting=setting)
            apart[part] = made[parent]
        for directory in (root, *made.values()):
            _remove_abandoned(directory.parent)
            _hold_room(directory, room_bytes + config.reserve_bytes)
        yield Scratch(root, apart)


def _elsewhere(config: Config) -> dict[str, Path]:
    """What the settings put outside of the data directory, or on another disk."""
    places = {"database": Path(unquote(urlsplit(config.database_url).path)).resolve().parent}
    if config.storage_url.startswith("file:"):  # a bucket is no disk to be tried
        places["storage"] = Path(unquote(urlsplit(config.storage_url).path)).resolve()
    data_dir = config.data_dir.resolve()
    return {part: place for part, place in places.items() if not _is_within(place, data_dir)}


def _is_within(place: Path, data_dir: Path) -> bool:
    if not place.is_relative_to(data_dir):
        return False
    return not place.exists() or place.stat().st_dev == data_dir.stat().st_dev


def _directory(stack: ExitStack, parent: Path, name: str, *, setting: str) -> Path:
    """A locked directory for as long as the stack."""
    path = parent / name
    missing = [one for one in (parent, *parent.parents) if not one.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        for one in reversed(missing):  # the innermost goes first
            stack.callback(_remove_if_empty, one)
        path.mkdir(mode=0o700)
        stack.callback(shutil.rmtree, path, ignore_errors=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        raise ConfigurationError(
            [
                f"{setting}: no directory can be made in {parent} ({error.strerror}). Choose "
                f"another place, or run the self-test as the user that runs the appliance."
            ]
        ) from error
    return path


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()


def _remove_abandoned(parent: Path) -> None:
    """What a self-test that was killed has left in `parent`."""
    with contextlib.suppress(OSError):
        for path in parent.glob(PREFIX + "*"):
            identifier = path.name.removeprefix(PREFIX)
            if not is_id(identifier) or time.time() - time_of(identifier) < FRESH_S:
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            except BlockingIOError:
                pass  # a self-test runs there
            finally:
                os.close(descriptor)


def _hold_room(directory: Path, wanted_bytes: int) -> None:
    free_bytes = shutil.disk_usage(directory).free
    if free_bytes < wanted_bytes:
        raise ConfigurationError(
            [
                f"The self-test wants {wanted_bytes / 1e9:.1f} GB free in {directory.parent}, with "
                f"APPLIANCE_RESERVE_BYTES among them, and there are {free_bytes / 1e9:.1f} GB. "
                "Free some space."
            ]
        )
