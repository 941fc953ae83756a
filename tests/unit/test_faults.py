"""Whose fault an error is: the file's, which is told to its owner, or the surroundings'."""

from __future__ import annotations

import errno
import io
import os

import pytest
from PIL import Image, TiffImagePlugin  # noqa: F401  (registers the format)

from appliance.errors import CorruptFile
from appliance.processors.faults import blaming_the_file


def test_an_offset_beyond_every_end_is_the_file_s_fault() -> None:
    """Found by fuzzing: the first directory of this BigTIFF begins at 2^63 and more."""
    file = io.BytesIO(b"II+\x00B8\x00\x00\x809\x82\x81H\x14\x12\x87")
    with pytest.raises(CorruptFile), blaming_the_file("picture"):
        Image.open(file, formats=["TIFF"])


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EOVERFLOW])
def test_where_a_seek_leads_is_up_to_the_file(number: int) -> None:
    with pytest.raises(CorruptFile), blaming_the_file("picture"):
        raise OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ENOMEM])
def test_a_failing_machine_is_not_the_file_s_fault(number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)), blaming_the_file("picture"):
        raise OSError(number, os.strerror(number))
