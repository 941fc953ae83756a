"""Uploads under way, noted on this machine's disk, so that a client that was killed goes on
where it stopped when the same command is given again.

One file for each upload, named by a digest of what makes it the same one: server, key, path, size
and time of the last change, and what was asked for it. It holds no key. Who works on an upload
holds a lock on its file. An upload that was acknowledged stays noted until all files of its
command are, so that a command that is given again sends what is missing and nothing twice.

What is noted is a hint: whether and how far an upload is there, the server says. So nothing is
synced; a note that is lost costs an upload from the start.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from appliance.client.failures import SourceUnfit
from appliance.clock import Clock

KEPT_S = 7 * 86400.0
"""A note that was not touched for so long is deleted; servers forget sooner, by default."""


class Note(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    path: str
    server: str
    upload_id: str | None = None
    is_acknowledged: bool = False
    """Its job exists, and has the digest of the file."""


class Entry:
    """The note on one upload, while its lock is held."""

    def __init__(self, descriptor: int, note: Note) -> None:
        self._descriptor = descriptor
        self.note = note

    def write(self, note: Note) -> None:
        content = msgspec.json.encode(note)
        # In place, because the lock is on this very file.
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))
        self.note = note

    def forget(self) -> None:
        """The upload has come to nothing: the next one begins anew."""
        self.write(msgspec.structs.replace(self.note, upload_id=None, is_acknowledged=False))


class Journal:
    def __init__(self, directory: Path, *, server_url: str, key: str, clock: Clock) -> None:
        """Raises SourceUnfit when nothing can be noted there."""
        self._directory = directory
        self._server_url = server_url
        self._key = key
        self._noted: set[Path] = set()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._forget_old(clock.now())
        except OSError as error:
            raise SourceUnfit(
                f"Uploads under way cannot be noted in {directory} ({error.strerror}). Set "
                "XDG_STATE_HOME to a folder that can be written."
            ) from error

    def _forget_old(self, now: float) -> None:
        for path in self._directory.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < now - KEPT_S:
                    path.unlink()

    @contextmanager
    def entry(
        self, path: Path, *, size_bytes: int, mtime_ns: int, asked: Mapping[str, str]
    ) -> Iterator[Entry]:
        """The note on the upload of this file as it is now; empty when there is none yet.

        Raises SourceUnfit when another process works on it.
        """
        same = msgspec.json.encode(
            [
                self._server_url,
                hashlib.sha256(self._key.encode()).hexdigest(),
                os.fsencode(path).hex(),
                size_bytes,
                mtime_ns,
                sorted(asked.items()),
            ]
        )
        place = self._directory / f"{hashlib.sha256(same).hexdigest()[:32]}.json"
        try:
            descriptor = _open_locked(place)
        except BlockingIOError:
            raise SourceUnfit(
                "It is being uploaded by another command right now. Wait for that, or stop it."
            ) from None
        except OSError as error:
            raise SourceUnfit(
                f"The upload cannot be noted in {self._directory} ({error.strerror})."
            ) from error
        entry = Entry(descriptor, _read(descriptor, str(path), self._server_url))
        self._noted.add(place)
        try:
            yield entry
        finally:
            if entry.note.upload_id is None:
                self._noted.discard(place)
                place.unlink(missing_ok=True)
            os.close(descriptor)

    def forget(self) -> None:
        """Delete what was noted in this life: every file of the command is acknowledged."""
        for place in self._noted:
            place.unlink(missing_ok=True)
        self._noted.clear()


def _open_locked(place: Path) -> int:
    """Raises BlockingIOError when somebody holds it, and OSError."""
    while True:
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # deleted between the two: what is there now is another file


def _read(descriptor: int, path: str, server_url: str) -> Note:
    with contextlib.suppress(msgspec.DecodeError):
        return msgspec.json.decode(os.pread(descriptor, 1 << 16, 0), type=Note)
    # Surrogates, of a name that is no UTF-8, are in no JSON; the path is here for people.
    return Note(path.encode("utf-8", "replace").decode(), server_url)
