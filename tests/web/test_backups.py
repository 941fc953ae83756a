"""What the dashboard and /readyz tell of backups."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from appliance import parts
from appliance.backups.manifest import Writer
from appliance.backups.taking import Taker, alone
from appliance.config import load
from appliance.database import backups
from appliance.database.backups import Backup
from appliance.errors import StorageFull
from appliance.permissions import Role
from appliance.web.backup_words import backups_part
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.pages import HTML, page
from tests.web.wire import metrics, refused, services_of, upload

DAY_S = 86_400.0


async def recorded(served: Served, *, days_ago: float, proven: bool = False, **ended: Any) -> None:
    shared = services_of(served)
    at = shared.clock.now() - days_ago * DAY_S
    await shared.database.write(backups.begin("file:///mnt/backups", now=at))
    await shared.database.write(backups.end(at, now=at + 1, **ended))
    if proven:
        await shared.database.write(
            backups.prove("file:///mnt/backups", ended["snapshot"], now=at + 2, faults=None)
        )


async def told(served: Served) -> Any:
    document = await served.json("GET", "/readyz")
    assert document["status"] == "ready"  # uploads need no backup
    return document["parts"].get("backup")


async def test_nobody_takes_any(serve: Serve) -> None:
    served = await serve()
    assert await told(served) is None
    shown = (await page(served, "/dashboard")).words()
    assert "Backups: none is taken; set APPLIANCE_BACKUP_URL" in shown


async def test_the_latest_and_its_proof(serve: Serve) -> None:
    served = await serve()
    taken = {"snapshot": "20261125T122027.123Z", "files": 1200, "size_bytes": 5_000_000}
    await recorded(served, days_ago=3, proven=True, **taken)
    await recorded(served, days_ago=0.1, **{**taken, "snapshot": "20261128T122027.123Z"})
    part = await told(served)
    assert part["ok"]
    assert part["detail"] == "the last one 2 h ago, 1,200 files, 5.0 MB; proven 2 d ago"
    assert part["detail"] in (await page(served, "/dashboard")).words()
    measured, now = await metrics(served), services_of(served).clock.now()
    taken_at = measured["appliance_backup_timestamp_seconds"]
    assert taken_at == pytest.approx(now - 0.1 * DAY_S, abs=60)
    proven_at = measured["appliance_backup_proven_timestamp_seconds"]
    assert proven_at == pytest.approx(now - 3 * DAY_S, abs=60)
    assert measured["appliance_backup_failed"] == 0
    await recorded(served, days_ago=0, error="The place is full.")
    assert (await metrics(served))["appliance_backup_failed"] == 1


@pytest.mark.parametrize(
    ("ended", "says"),
    [
        ({"error": "The disk is full."}, "the last one failed: The disk is full."),
        ({"snapshot": "s", "lacking": 2}, "2 files could not be copied"),
    ],
)
async def test_what_went_wrong_is_in_the_first_sentence(
    serve: Serve, ended: dict[str, Any], says: str
) -> None:
    served = await serve()
    await recorded(served, days_ago=0.1, **ended)
    part = await told(served)
    assert not part["ok"]
    assert says in part["detail"]
    shown = (await page(served, "/dashboard")).words()
    assert "backup needs a look" in shown.lower()
    assert says in shown


async def test_a_damaged_one(serve: Serve) -> None:
    served = await serve()
    await recorded(served, days_ago=0.1, snapshot="s")
    shared = services_of(served)
    await shared.database.write(
        backups.prove("file:///mnt/backups", "s", now=shared.clock.now(), faults="a.txt is gone.")
    )
    part = await told(served)
    assert not part["ok"]
    assert "the last one is damaged: a.txt is gone." in part["detail"]


def test_one_that_is_late() -> None:
    taken = Backup(
        began_at=0.0, ended_at=1.0, place="p", snapshot="s", files=1, size_bytes=1, new_bytes=1,
        lacking=0, error=None, proven_at=None, faults=None,
    )  # fmt: skip
    for now, is_late in ((1.9 * DAY_S, False), (2.1 * DAY_S, True)):
        part = backups_part([taken], None, every_s=DAY_S, now=now)
        assert part is not None
        assert part["ok"] is not is_late
    part = backups_part([taken], None, every_s=None, now=2.1 * DAY_S)
    assert part is not None
    assert part["ok"], "by hand: nobody said how often"


async def test_one_of_a_clock_that_was_ahead_is_told_until_there_is_another(serve: Serve) -> None:
    served = await serve()
    await recorded(served, days_ago=-365, snapshot="20271125T122027.123Z")
    part = await told(served)
    assert not part["ok"]
    assert "which is to come: look at the clock" in part["detail"]
    assert (await metrics(served))["appliance_backup_timestamp_seconds"] == 0
    await recorded(served, days_ago=0.1, snapshot="20261125T122027.123Z", files=1, size_bytes=1)
    part = await told(served)
    assert part["ok"]
    assert part["detail"].startswith("the last one 2 h ago")
    newest, _ = (await served.json("GET", "/backups"))["backups"]
    assert newest["snapshot"] == "20261125T122027.123Z"


async def test_one_that_the_server_s_own_disk_stops_is_told(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve()
    await upload(served)

    def full(self: Writer, entry: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Writer, "add", full)
    shared = services_of(served)
    config = load({"APPLIANCE_DATA_DIR": str(served.data_dir)})
    async with parts.backups(
        config, f"file://{tmp_path}/backups", database=shared.database, clock=shared.clock
    ) as opened:
        with pytest.raises(StorageFull):
            await opened.take()
    part = await told(served)
    assert not part["ok"]
    assert part["detail"].startswith("the last one failed: The disk is full.")


async def ended(served: Served, count: int) -> Any:
    """The list, once so many have ended, the first is proven, and nothing is under way."""
    while True:  # the test's own timeout is the deadline
        document = await served.json("GET", "/backups")
        over = [one for one in document["backups"] if one["endedAt"]]
        is_proven = bool(over) and over[-1]["provenAt"] is not None
        if len(over) >= count and is_proven and document["underWay"] is None:
            return document


async def test_one_that_is_asked_for(serve: Serve, tmp_path: Path) -> None:
    served = await serve(backup_url=f"file://{tmp_path}/backups", backup_prove_every_s="8640000")
    await ended(served, 1)  # the first is taken by itself
    await upload(served, b"words", "a.txt")
    begun = await served.json("POST", "/backups")
    assert begun["error"] is None
    document = await ended(served, 2)
    assert document["everyS"] == DAY_S
    newest, first = document["backups"]
    assert newest["beganAt"] == begun["beganAt"] > first["beganAt"]
    assert newest["files"] == first["files"] + 1
    assert newest["snapshot"] in {path.stem for path in (tmp_path / "backups").rglob("*.jsonl")}
    (act,) = (await served.json("GET", "/audit?action=backup.take"))["acts"]
    assert act["subject"] == f"file://{tmp_path}/backups"
    shown = await page(served, "/dashboard")
    (form,) = shown.posting("/backups")
    async with served.admin.post(
        "/backups", data=form.sent_by("Back up now"), headers=HTML, allow_redirects=False
    ) as response:
        assert (response.status, response.headers["Location"]) == (303, "/dashboard")
    await ended(served, 3)


async def test_only_one_at_a_time(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve(backup_url=f"file://{tmp_path}/backups", backup_prove_every_s="8640000")
    await ended(served, 1)
    with alone(served.data_dir / "backup"):  # as the command does
        async with served.admin.post("/backups") as response:
            await refused(response, 409, "backup_running")

    async def for_ever(self: Taker) -> Any:
        self._counted(1_200_000)
        await asyncio.Event().wait()

    monkeypatch.setattr(Taker, "take", for_ever)
    begun = await served.json("POST", "/backups")
    async with served.admin.post("/backups") as response:
        await refused(response, 409, "backup_running")
    document = await served.json("GET", "/backups")
    assert document["underWay"] == {
        "what": "taken", "beganAt": begun["beganAt"], "bytes": 1_200_000,
    }  # fmt: skip
    shown = await page(served, "/dashboard")
    assert "Backups: one is being taken, 1.2 MB copied so far." in shown.words()
    assert not shown.posting("/backups")
    assert len(document["backups"]) == 2, "those that were refused are none"


async def test_a_file_that_cannot_be_read_holds_up_no_other(serve: Serve, tmp_path: Path) -> None:
    served = await serve(backup_url=f"file://{tmp_path}/backups", backup_prove_every_s="8640000")
    await ended(served, 1)
    for name in ("a.txt", "b.txt"):
        await upload(served, name.encode(), name)
    (path,) = (served.data_dir / "files/raw").rglob("a.txt")
    path.unlink()
    path.symlink_to(path)  # opening it fails, as it does on a bad sector
    await served.json("POST", "/backups")
    newest = (await ended(served, 2))["backups"][0]
    assert newest["error"] is None
    assert newest["lackingFiles"] == 1
    manifest = tmp_path / "backups/snapshots" / f"{newest['snapshot']}.jsonl"
    assert "b.txt" in manifest.read_text()


async def test_nowhere_to_put_one(serve: Serve) -> None:
    served = await serve()
    async with served.admin.post("/backups") as response:
        told = await refused(response, 409, "no_backup_place")
    assert "APPLIANCE_BACKUP_URL" in told["detail"]
    assert await served.json("GET", "/backups") == {
        "everyS": None, "underWay": None, "backups": [],
    }  # fmt: skip
    assert not (await page(served, "/dashboard")).posting("/backups")


async def test_viewers_see_them_and_take_none(serve: Serve, join: Join, tmp_path: Path) -> None:
    served = await serve(backup_url=f"file://{tmp_path}/backups")
    await ended(served, 1)
    viewer, operator = await join(served, Role.VIEWER), await join(served, Role.OPERATOR)
    async with viewer.http.get("/backups") as response:
        assert response.status == 200
    async with operator.http.post("/backups") as response:
        await refused(response, 403, "forbidden")
    async with operator.http.get("/dashboard", headers=HTML) as response:
        assert "Back up now" not in await response.text()
