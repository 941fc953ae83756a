"""Run a server command, use it as a first visitor would, end it by SIGTERM; exit 0 if all is well.

    probe_server.py [--uid N] [--while-up SHELL_COMMAND] -- COMMAND…

In the commands, `{port}` becomes a free port and `{key}` the admin key that the probe will use.
Nothing but the standard library is needed. Checked: /healthz answers; /signin and every file
under /static that it names are served; a picture goes in, and its results come out; the process
runs as user id N; the command given with --while-up succeeds; SIGTERM ends it with 0.
"""

import argparse
import http.client
import json
import re
import secrets
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

START_S = 30
JOB_S = 30
STOP_S = 30


class ProbeError(Exception):
    """What is wrong, for the person who started the probe."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def png(width: int, height: int) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\0" + b"\x80" * width) * height)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


class Visitor:
    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "image/png"}

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10 + JOB_S)
        try:
            connection.request(method, path, body, self._headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def expect(self, status: int, method: str, path: str, body: bytes | None = None) -> bytes:
        found, answer = self.ask(method, path, body)
        if found != status or not answer:
            start = answer[:500].decode(errors="replace")
            raise ProbeError(f"{method} {path} answered {found}, not {status}: {start}")
        print(f"{method} {path}: {found}, {len(answer)} bytes")
        return answer


def wait_until_healthy(server: subprocess.Popen[bytes], visitor: Visitor) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ProbeError(f"it ended at once, with {server.returncode}")
        try:
            if visitor.ask("GET", "/healthz")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise ProbeError(f"/healthz did not answer 200 within {START_S} s")


def check_user(pid: int, uid: int) -> None:
    uids = re.findall(r"^Uid:\s+(.*)$", Path(f"/proc/{pid}/status").read_text(), re.M)[0].split()
    if set(uids) != {str(uid)}:
        raise ProbeError(f"it runs with the user ids {uids}, not as {uid}")
    print(f"runs as user id {uid}")


def check_pages(visitor: Visitor) -> None:
    page = visitor.expect(200, "GET", "/signin").decode()
    files = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', page))
    if not files:
        raise ProbeError("/signin names no file under /static")
    for path in sorted(files):
        visitor.expect(200, "GET", path)


def check_job(visitor: Visitor) -> None:
    job = json.loads(visitor.expect(202, "POST", "/upload?filename=grey.png", png(1600, 1200)))
    deadline = time.monotonic() + JOB_S
    while job["status"] != "COMPLETED":
        if job["status"] == "FAILED" or time.monotonic() > deadline:
            raise ProbeError(f"the picture's job did not complete: {job}")
        job = json.loads(visitor.expect(200, "GET", f"{job['statusUrl']}?wait=5"))
    if not job["files"]:
        raise ProbeError("the picture's job has no results")
    for file in job["files"]:
        visitor.expect(200, "GET", file["url"])


def check_stop(server: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    server.send_signal(signal.SIGTERM)
    try:
        status = server.wait(STOP_S)
    except subprocess.TimeoutExpired:
        raise ProbeError(f"it still ran {STOP_S} s after SIGTERM") from None
    if status != 0:
        raise ProbeError(f"it ended with {status} after SIGTERM")
    print(f"SIGTERM: exit 0 after {time.monotonic() - began:.1f} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uid", type=int)
    parser.add_argument("--while-up", metavar="SHELL_COMMAND")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()

    port, key = str(free_port()), secrets.token_hex(24)

    def filled(word: str) -> str:
        return word.replace("{port}", port).replace("{key}", key)

    visitor = Visitor(int(port), key)
    with tempfile.TemporaryFile() as output:
        server = subprocess.Popen(
            list(map(filled, arguments.command)), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            wait_until_healthy(server, visitor)
            if arguments.uid is not None:
                check_user(server.pid, arguments.uid)
            check_pages(visitor)
            check_job(visitor)
            if arguments.while_up:
                subprocess.run(filled(arguments.while_up), shell=True, check=True)
                print("the command given for while it is up succeeded")
            check_stop(server)
        except (ProbeError, OSError, subprocess.CalledProcessError) as fault:
            server.kill()
            output.seek(0)
            print(output.read().decode(errors="replace"), f"FAULT: {fault}", sep="\n")
            return 1
        finally:
            server.kill()
            server.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
