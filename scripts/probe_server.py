"""Run a server command, use it as a first visitor would, end it by SIGTERM; exit 0 if all is well.

    probe_server.py [--uid N] [--while-up SHELL_COMMAND] -- COMMAND…

`{port}` in the commands becomes a free port. Nothing but the standard library is needed.
Checked: /healthz answers; /signin and every file under /static that it names are served; the
process runs as user id N; the command given with --while-up succeeds; SIGTERM ends it with 0.
"""

import argparse
import http.client
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START_S = 30
STOP_S = 30


class ProbeError(Exception):
    """What is wrong, for the person who started the probe."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def expect_ok(port: int, path: str) -> str:
    status, body = get(port, path)
    if status != 200 or not body:
        raise ProbeError(f"GET {path} answered {status} with {len(body)} characters")
    print(f"GET {path}: 200, {len(body)} characters")
    return body


def wait_until_healthy(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise ProbeError(f"it ended at once, with {server.returncode}")
        try:
            if get(port, "/healthz")[0] == 200:
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


def check_pages(port: int) -> None:
    files = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', expect_ok(port, "/signin")))
    if not files:
        raise ProbeError("/signin names no file under /static")
    for path in sorted(files):
        expect_ok(port, path)


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

    port = free_port()
    command = [word.replace("{port}", str(port)) for word in arguments.command]
    with tempfile.TemporaryFile() as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_until_healthy(server, port)
            if arguments.uid is not None:
                check_user(server.pid, arguments.uid)
            check_pages(port)
            if arguments.while_up:
                subprocess.run(
                    arguments.while_up.replace("{port}", str(port)), shell=True, check=True
                )
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
