"""scripts/audit: what it makes of the words of pip-audit, which a small program says here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AUDIT = Path(__file__).resolve().parents[2] / "scripts/audit"

SOUND = {"name": "aiohttp", "version": "3.14.0", "vulns": []}
HOLED = {
    "name": "pillow",
    "version": "9.0.0",
    "vulns": [{"id": "PYSEC-2023-175", "fix_versions": ["10.0.1"]}],
}
UNKNOWN = {"name": "av", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("packages", "code", "said"),
    [
        ([SOUND], 0, "1 packages looked up, 0 known holes."),
        ([SOUND, HOLED], 1, "pillow 9.0.0: PYSEC-2023-175, mended in 10.0.1"),
        ([SOUND, UNKNOWN], 0, "Of 1 nothing is known."),
        ([UNKNOWN], 0, "were not looked for"),
        (None, 0, "were not looked for"),
    ],
)
def test_what_was_found(
    tmp_path: Path, packages: list[dict[str, Any]] | None, code: int, said: str
) -> None:
    tool = tmp_path / "pip-audit"
    words = "" if packages is None else json.dumps({"dependencies": packages})
    tool.write_text(f"#!{sys.executable}\nprint({words!r})\n")
    tool.chmod(0o755)
    done = subprocess.run([sys.executable, AUDIT, tool, "a.lock"], capture_output=True, text=True)
    assert (done.returncode, said in done.stdout) == (code, True), done
