"""A byte of a stored file is changed, so that the verification shows that it can fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.selftest.ledger import Entry
from appliance.selftest.traffic import chance


@contextmanager
def flipped(storage: Path, entry: Entry) -> Iterator[int]:
    """One bit of the stored original is another one for as long as the block; at which byte.

    `storage` has the layout of docs/operations.md. Raises OSError.
    """
    (path,) = (storage / "raw" / entry.job_id).iterdir()
    offset = chance.randrange(entry.size_bytes)
    _flip(path, offset)
    try:
        yield offset
    finally:
        _flip(path, offset)


def _flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1]))
