"""Files that rot in the store: found by reading them, told, and not served."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.clock import SystemClock
from appliance.errors import StorageUnavailable
from appliance.maintenance.scrubber import Scrubber
from appliance.storage.tiered import TieredStorage
from tests import databases, media
from tests.conftest import Serve, Served
from tests.web.pages import links, page
from tests.web.wire import metrics, refused, services_of

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


def scrubber(served: Served, every_s: float = 0.0) -> Scrubber:
    shared = services_of(served)
    return Scrubber(
        database=shared.database,
        storage=shared.storage,
        clock=SystemClock(),
        bytes_per_s=None,
        every_s=every_s,
    )


async def stored(served: Served, name: str = "cat.jpg") -> Any:
    job = await served.json("PUT", f"/upload/{name}", data=media.jpeg(400, 300))
    return await served.finished(job["jobId"])


def place_of(served: Served, name: str) -> Path:
    (path,) = (served.data_dir / "files").rglob(name)
    return path


def flip(path: Path) -> bytes:
    """Change one bit; what was there before."""
    before = path.read_bytes()
    content = bytearray(before)
    content[-20] ^= 1
    path.write_bytes(content)
    return before


@pytest.mark.parametrize("settings", [{}, {"encryption_key": KEY}], ids=["plain", "encrypted"])
@pytest.mark.parametrize("name", ["cat.jpg", "thumbnail.webp"])
async def test_a_flipped_bit(serve: Serve, name: str, settings: dict[str, str]) -> None:
    served = await serve(workers=True, scrub_bytes_per_s="0", **settings)
    job = await stored(served)
    assert (await scrubber(served).pass_over_all()).damaged == 0
    before = flip(place_of(served, name))
    assert (await scrubber(served).pass_over_all()).damaged == 1

    url = f"/jobs/{job['jobId']}/files/{'original' if name == 'cat.jpg' else name}"
    async with served.admin.get(url) as response:
        told = await refused(response, 500, "object_damaged")
        assert "backup" in told["detail"]
    shown = (await page(served, "/dashboard")).words()
    assert "1 stored file is damaged" in shown
    assert f"{name} is not what was stored" in shown
    job_page = f"/dashboard/jobs/{job['jobId']}"
    assert f"{name} was damaged where it is stored" in (await page(served, job_page)).words()
    async with served.admin.get(f"/jobs/{job['jobId']}/archive") as response:
        await refused(response, 500, "object_damaged")
    async with served.admin.get("/metrics") as response:
        assert "appliance_damaged_files 1.0" in await response.text()

    place_of(served, name).write_bytes(before)
    assert (await scrubber(served).pass_over_all()).damaged == 0
    async with served.admin.get(url) as response:
        assert response.status == 200
    assert "damaged" not in (await page(served, "/dashboard?fresh=1")).words()
    assert "was damaged" not in (await page(served, job_page)).words()
    acts = (await served.json("GET", f"/audit?subject={job['jobId']}"))["acts"]
    assert [act["action"] for act in acts] == ["file.sound", "file.damaged"]
    assert {act["actor"] for act in acts} == {"system"}


async def test_a_deleted_file_is_damaged_no_more(serve: Serve) -> None:
    served = await serve(workers=True, scrub_bytes_per_s="0")
    job = await stored(served)
    flip(place_of(served, "cat.jpg"))
    flip(place_of(served, "thumbnail.webp"))
    assert (await scrubber(served).pass_over_all()).damaged == 2
    async with served.admin.delete(f"/jobs/{job['jobId']}") as response:
        assert response.status == 204
    assert (await scrubber(served).pass_over_all()).damaged == 0


async def test_it_goes_on_where_it_was_and_rests_in_between(serve: Serve) -> None:
    served = await serve(workers=True, scrub_bytes_per_s="0")
    for number in range(3):
        await stored(served, f"{number}.jpg")
    month_s = 30 * 24 * 3600.0
    await scrubber(served, month_s).run_once()  # originals
    flip(place_of(served, "1.jpg"))
    await scrubber(served, month_s).run_once()  # their end; another life, as after a restart
    flip((served.data_dir / "files").rglob("thumbnail.webp").__next__())
    assert await scrubber(served, month_s).run_once() == {"damaged": 1}
    await scrubber(served, month_s).run_once()  # the end of the pass
    assert await scrubber(served, month_s).run_once() == {}
    assert await scrubber(served, 0.0).run_once() == {"damaged": 1}


async def test_by_itself(serve: Serve) -> None:
    served = await serve(workers=True, scrub_every_days="0")
    job = await stored(served)
    flip(place_of(served, "cat.jpg"))
    url = f"/jobs/{job['jobId']}/files/original"
    while True:  # the test's own timeout is the deadline
        async with served.admin.head(url) as response:
            if response.status == 500:
                break


@pytest.mark.parametrize("name", ["cat.jpg", "thumbnail.webp"])
async def test_a_missing_file(serve: Serve, name: str) -> None:
    """An original that is gone is missing; a result that is gone is damaged."""
    served = await serve(workers=True, scrub_bytes_per_s="0")
    await stored(served)
    path = place_of(served, name)
    content = path.read_bytes()
    path.unlink()
    outcome = await scrubber(served).pass_over_all()
    assert (outcome.missing, outcome.damaged) == ((1, 0) if name == "cat.jpg" else (0, 1))
    assert ("missing" if name == "cat.jpg" else "damaged") in (
        await page(served, "/dashboard")
    ).words()

    path.write_bytes(content)
    assert (await scrubber(served).pass_over_all()).is_sound


@pytest.mark.parametrize("was", ["damaged", "unreadable"])
async def test_what_is_missing_now_is_not_told_as_what_it_was_before(
    serve: Serve, was: str
) -> None:
    served = await serve(workers=True, scrub_bytes_per_s="0")
    await stored(served)
    path = place_of(served, "cat.jpg")
    if was == "damaged":
        flip(path)
    else:
        path.unlink()
        path.symlink_to(path)  # opening it fails, as it does on a bad sector
    assert getattr(await scrubber(served).pass_over_all(), was) == 1
    path.unlink()
    outcome = await scrubber(served).pass_over_all()
    assert (outcome.missing, outcome.damaged, outcome.unreadable) == (1, 0, 0)
    assert (await metrics(served))[f"appliance_{was}_files"] == 0


async def test_a_file_that_cannot_be_read_holds_up_no_other(serve: Serve) -> None:
    served = await serve(workers=True, scrub_bytes_per_s="0")
    job = await stored(served)
    path = place_of(served, "cat.jpg")
    content = path.read_bytes()
    path.unlink()
    path.symlink_to(path)  # opening it fails, as it does on a bad sector
    thumbnail = place_of(served, "thumbnail.webp")
    before = flip(thumbnail)
    for _ in range(2):
        outcome = await scrubber(served).pass_over_all()
        assert (outcome.unreadable, outcome.damaged, outcome.missing) == (1, 1, 0)

    shown = (await page(served, "/dashboard")).words()
    assert "1 stored file is damaged" in shown
    assert "1 stored file is unreadable" in shown
    assert "cat.jpg could not be read." in shown
    job_page = f"/dashboard/jobs/{job['jobId']}"
    assert "cat.jpg could not be read when all files" in (await page(served, job_page)).words()
    async with served.admin.get("/metrics") as response:
        assert "appliance_unreadable_files 1.0" in await response.text()

    path.unlink()
    thumbnail.write_bytes(before)
    flipped = bytearray(content)
    flipped[-20] ^= 1
    path.write_bytes(flipped)
    assert (await scrubber(served).pass_over_all()).damaged == 1, "it is read again, and another"
    assert "unreadable" not in (await page(served, "/dashboard?fresh=1")).words()
    path.write_bytes(content)
    assert (await scrubber(served).pass_over_all()).is_sound
    acts = (await served.json("GET", f"/audit?subject={job['jobId']}"))["acts"]
    assert [act["action"] for act in acts if act["detail"]["key"].endswith("cat.jpg")] == [
        "file.sound", "file.damaged", "file.unreadable",
    ]  # fmt: skip


async def test_the_link_leads_to_a_job_that_is_there(serve: Serve) -> None:
    """The upload has the id of its first job, which may have been deleted."""
    served = await serve(workers=True, scrub_bytes_per_s="0")
    first = await stored(served)
    second = await served.json(
        "POST", f"/jobs/{first['jobId']}/process", json={"preset": "default"}
    )
    await served.finished(second["jobId"])
    async with served.admin.delete(f"/jobs/{first['jobId']}") as response:
        assert response.status == 204
    flip(place_of(served, "cat.jpg"))
    assert (await scrubber(served).pass_over_all()).damaged == 1
    link = f"/dashboard/jobs/{second['jobId']}"
    found = await page(served, "/dashboard")
    assert "1 stored file is damaged" in found.words()
    assert next(iter(links(found, "/dashboard/jobs/"))) == link
    assert "cat.jpg was damaged where it is stored" in (await page(served, link)).words()


async def test_a_cold_place_that_is_away_says_nothing_of_its_files(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve(
        workers=True, scrub_bytes_per_s="0", cold_storage_url=f"file://{tmp_path}/cold"
    )
    job = await stored(served)
    storage = services_of(served).storage
    assert isinstance(storage, TieredStorage)
    await storage.make_cold(f"raw/{job['jobId']}/cat.jpg")

    async def no_bytes(key: str, **_: object) -> AsyncIterator[bytes]:
        raise StorageUnavailable("The bucket does not answer.")
        yield b""

    async def nothing_taken(key: str) -> Any:
        raise StorageUnavailable("The bucket does not answer.")

    monkeypatch.setattr(storage._cold, "read", no_bytes)
    monkeypatch.setattr(storage._cold, "receive", nothing_taken)
    with pytest.raises(StorageUnavailable, match=r"^The cold place"):
        await scrubber(served).pass_over_all()


async def test_the_command(serve: Serve) -> None:
    served = await serve(workers=True, scrub_bytes_per_s="0", encryption_key=KEY)
    await stored(served)
    assert (await command(served))["damaged"] == 0
    flip(place_of(served, "cat.jpg"))
    told = await command(served)
    assert told["damaged"] == 1
    assert told["damagedKeys"][0].endswith("/cat.jpg")


async def command(served: Served) -> Any:
    """What `appliance scrub --json` says, beside the server."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "appliance", "scrub", "--json"),
        env={**databases.variables(served.data_dir), "APPLIANCE_ENCRYPTION_KEY": KEY},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    told = json.loads(said)
    assert process.returncode == (1 if told["damaged"] else 0)
    return told
