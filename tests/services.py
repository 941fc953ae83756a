"""What `scripts/services` has started, for tests that need it."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

SERVICES = Path(__file__).parents[1] / "scripts/services"


@cache
def _told(service: str) -> dict[str, str]:
    told = subprocess.run((SERVICES, "env", service), capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in told.stdout.splitlines())


def needed(variable: str, service: str) -> str:
    """What the environment says, else what runs here; skips the test where nothing does."""
    found = os.environ.get(variable) or _told(service).get(variable)
    if found is None:
        pytest.skip(f"{service} does not run: `scripts/services start {service}`")
    return found
