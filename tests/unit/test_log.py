"""What the log does not tell."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAILING = """
import sys, structlog
from appliance import log
log.configure(sys.argv[1], "info")
try:
    password = "hunter2"
    {}["missing"]
except KeyError:
    structlog.get_logger().exception("request_failed")
"""


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_a_trace_shows_no_local_variables(log_format: str) -> None:
    """Also where `rich` is installed, whose traces do: structlog would take it by itself."""
    __import__("rich")
    done = subprocess.run(
        [sys.executable, "-c", FAILING, log_format],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "KeyError: 'missing'" in done.stderr
    assert done.stderr.count("hunter2") == 0


def test_a_log_that_cannot_be_written_stops_nobody() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", FAILING + "print('went on')", "console"],
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stdout == "went on\n"
