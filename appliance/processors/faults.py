"""Whose fault it is when a media library raises: the file's or the surroundings'."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.errors import CorruptFile, ProcessingError

_BY_OFFSETS = (errno.EINVAL, errno.EOVERFLOW)
"""What seeking answers where a broken file sends its reader: before the start, beyond any end."""


@contextmanager
def blaming_the_file(kind: str) -> Iterator[None]:
    """Turn what a library raises about broken content into CorruptFile, keeping it as the cause.

    Decoders raise whatever their parser tripped over: ValueError, SyntaxError, struct.error,
    zlib.error, RecursionError, an OSError without a number (Pillow). What passes untouched is
    a verdict of our own, a lack of memory, and an OSError that carries the system's number: a
    full or failing disk (ENOSPC, EIO) says nothing about the file and is worth another try.
    """
    try:
        yield
    except (ProcessingError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in (None, *_BY_OFFSETS):
            raise
        raise CorruptFile(
            f"This {kind} is damaged or incomplete. Check that it opens on your computer,"
            " and upload it again."
        ) from error
