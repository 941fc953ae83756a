"""What docs/webhooks.md tells receivers to do to verify a message, done to real messages."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.webhooks import Secrets, new_secret

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs/webhooks.md").read_text("utf-8")
BODY = '{"type":"job.completed","data":{"filename":"größe \\n.jpg"}}'
Verify = Callable[[str, Mapping[str, str], bytes], bool]


def block(language: str, beginning: str) -> str:
    (found,) = re.findall(rf"^```{language}\n({re.escape(beginning)}.*?)^```", PAGE, re.M | re.S)
    return str(found)


def in_python(_: Path) -> Verify:
    namespace: dict[str, Any] = {}
    exec(block("python", "import base64"), namespace)
    verify: Verify = namespace["verify"]
    return verify


def in_node(folder: Path) -> Verify:
    asks = (
        "const [secret, headers, body] = process.argv.slice(2);\n"
        'const ok = verify(secret, JSON.parse(headers), Buffer.from(body, "base64"));\n'
        "process.exit(ok ? 0 : 1);\n"
    )
    program = folder / "verify.mjs"
    program.write_text(block("js", "import { createHmac") + asks)

    def verify(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
        told = [secret, msgspec.json.encode(headers).decode(), base64.b64encode(body).decode()]
        return ends_well(["node", str(program), *told])

    return verify


def in_shell(folder: Path) -> Verify:
    program = folder / "verify.sh"
    program.write_text(block("bash", "verify()") + 'verify "$@"\n')

    def verify(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
        (folder / "body").write_bytes(body)
        told = [headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")]
        return ends_well(["bash", str(program), secret, *told, str(folder / "body")])

    return verify


def ends_well(command: list[str]) -> bool:
    """True for status 0, False for 1; anything else is a fault of the program."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode in (0, 1), done.stderr) == (True, "")
    return done.returncode == 0


@pytest.mark.parametrize("language", [in_python, in_node, in_shell])
def test_the_ways_to_verify_work(language: Callable[[Path], Verify], tmp_path: Path) -> None:
    if language is in_node and shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    verify = language(tmp_path)
    now, old, new = time.time(), new_secret(), new_secret()
    secrets = Secrets(new, old_secret=old, old_until=now + 60)
    headers, body = secrets.sign("01M85F1MKT1XZEV6WT98GJ23JH", BODY, now=now), BODY.encode()
    assert verify(new, headers, body)
    assert verify(old, headers, body)
    assert not verify(new_secret(), headers, body)
    assert not verify(new, headers, body.replace(b"completed", b"cancelled"))
    assert not verify(new, headers | {"webhook-id": "another"}, body)
    for off in (-330, 330):
        assert not verify(new, secrets.sign("id", BODY, now=now + off), body)
