"""The command, as somebody types it."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from appliance import config, parts
from appliance.commands import check
from tests import buckets, databases
from tests.acceptance.conftest import Server
from tests.clocks import WrongClock


def appliance(*arguments: str, data_dir: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {
        "PATH": os.environ["PATH"],
        **databases.variables(data_dir),
        "APPLIANCE_PORT": "0",
        **{
            name if name.isupper() else f"APPLIANCE_{name.upper()}": value
            for name, value in settings.items()
        },
    }
    return subprocess.run(
        [sys.executable, "-m", "appliance", *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_faults_are_told_all_at_once_with_the_mend(tmp_path: Path) -> None:
    done = appliance(
        "serve",
        data_dir=tmp_path,
        prot="8080",
        max_upload_bytes="lots",
        workers_image="4-1",
        database_url="mysql://db/app",
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 4
    for mend in (
        "did you mean APPLIANCE_PORT?",
        "such as 500000000, 500MB or 10GiB",
        "the smallest pool comes first: 1-4",
        "this version knows sqlite://",
    ):
        assert mend in done.stderr
    assert "Traceback" not in done.stderr


def test_check_says_that_all_is_well(tmp_path: Path) -> None:
    done = appliance("check", data_dir=tmp_path / "data")
    assert (done.returncode, done.stderr) == (0, "")
    assert "sound" in done.stdout


def test_check_tells_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    done = appliance("check", data_dir=tmp_path / "file" / "data")
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@databases.needs_file
def test_check_tells_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "appliance.db").write_bytes(b"certainly not SQLite " * 100)
    done = appliance("check", data_dir=tmp_path)
    assert done.returncode == 2
    assert "appliance.db" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_tells_a_cold_place_that_is_missing(tmp_path: Path) -> None:
    disk, data_dir = tmp_path / "disk", tmp_path / "data"
    assert appliance("check", data_dir=data_dir, cold_storage_url=f"file://{disk}").returncode == 0
    disk.rename(tmp_path / "unmounted")
    disk.mkdir()
    nowhere = buckets.url("moto", prefix="x").replace("s3://", "s3://nowhere-")
    for url, mend in ((f"file://{disk}", "Mount its disk"), (nowhere, "no such bucket")):
        done = appliance(
            "check",
            data_dir=data_dir,
            cold_storage_url=url,
            AWS_ACCESS_KEY_ID="any",
            AWS_SECRET_ACCESS_KEY="any",
        )
        assert done.returncode == 2
        assert done.stderr.startswith("appliance: APPLIANCE_COLD_STORAGE_URL: ")
        assert mend in done.stderr


async def test_check_tells_a_store_of_another_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await (await buckets.bucket("swift", prefix="any")).close()
    environ = {
        "APPLIANCE_DATA_DIR": str(tmp_path / "data"),
        "APPLIANCE_PORT": "0",
        "APPLIANCE_STORAGE_URL": buckets.url("swift", prefix=tmp_path.name),
        **buckets.environ("swift"),
    }
    monkeypatch.setattr(parts, "SystemClock", lambda: WrongClock(-7200.0))
    assert await check.run(config.load(environ), argparse.Namespace()) == 0
    told = capsys.readouterr().out
    assert re.search(r"clock is 7,(19\d|200) s ahead of this machine's", told), told


@pytest.mark.parametrize(
    "urls", ["mail to me", "nosuch://k3epthis@example.org", "mailto://k3epthis"]
)
def test_check_tells_of_addresses_of_operators_without_showing_them(
    urls: str, tmp_path: Path
) -> None:
    done = appliance("check", data_dir=tmp_path / "data", notify_urls=urls)
    assert done.returncode == 2
    assert done.stderr.startswith("appliance: APPLIANCE_NOTIFY_URLS: ")
    assert "k3epthis" not in done.stderr + done.stdout
    assert "mail to me" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [["--help"], ["serve", "--help"], ["keys", "--help"], ["selftest", "--help"]]
)
def test_help(arguments: list[str], tmp_path: Path) -> None:
    done = appliance(*arguments, data_dir=tmp_path)
    assert done.returncode == 0
    assert "usage: appliance" in done.stdout


async def test_keys_are_shown_once_work_and_end(server: Server) -> None:
    assert (
        appliance("keys", "create", "x", "--quota", "0", data_dir=server.data_dir).returncode == 2
    )
    made = appliance("keys", "create", "phone", "--quota", "5GiB", data_dir=server.data_dir)
    secret = made.stdout.strip()
    assert re.fullmatch(r"upa_[a-z2-7]{32}", secret)
    listed = appliance("keys", "list", data_dir=server.data_dir).stdout
    assert "phone" in listed
    assert secret not in listed
    key_id = next(line.split()[0] for line in listed.splitlines() if "phone" in line)

    async with aiohttp.ClientSession(
        server.url, headers={"Authorization": f"Bearer {secret}"}
    ) as session:
        async with session.get("/jobs") as response:
            assert response.status == 200
        async with session.get("/metrics") as response:
            assert response.status == 403
        async with session.get("/usage") as response:
            assert (await response.json())["quotaBytes"] == 5 * 1024**3
        assert appliance("keys", "revoke", key_id, data_dir=server.data_dir).returncode == 0
        status = 200
        while status == 200:  # within a second
            async with session.get("/jobs") as response:
                status = response.status
        assert status == 401
    assert appliance("keys", "revoke", key_id, data_dir=server.data_dir).returncode == 2
    if not databases.ON_POSTGRES:
        database = (server.data_dir / "appliance.db").read_bytes()
        wal = (server.data_dir / "appliance.db-wal").read_bytes()
        assert secret.encode() not in database + wal


async def test_the_first_start_prints_a_link_that_signs_in_once(server: Server) -> None:
    line = next(line for line in server.output if "/signin?token=" in line)
    token = line.rpartition("token=")[2]
    assert (server.data_dir / "admin.key").stat().st_mode & 0o777 == 0o600
    origin = {"Origin": server.url}
    for expected in (200, 401):
        async with aiohttp.ClientSession(
            server.url, cookie_jar=aiohttp.CookieJar(unsafe=True), headers=origin
        ) as session:
            async with session.post("/signin", data={"token": token}) as response:
                assert response.status == expected
            async with session.get("/jobs") as response:
                assert response.status == expected
    await server.end()
    server.output.clear()
    await server.start()
    assert not [line for line in server.output if "token=" in line]
