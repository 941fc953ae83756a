"""Files that rot in the store: found by reading them, told, and not served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.clock import SystemClock
from appliance.maintenance.scrubber import Scrubber
from tests import media
from tests.conftest import Serve, Served
from tests.web.pages import page
from tests.web.wire import refused, services_of

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
    assert (await scrubber(served).pass_over_all())[0] == 0
    before = flip(place_of(served, name))
    assert (await scrubber(served).pass_over_all())[0] == 1

    url = f"/jobs/{job['jobId']}/files/{'original' if name == 'cat.jpg' else name}"
    async with served.admin.get(url) as response:
        told = await refused(response, 500, "object_damaged")
        assert "backup" in told["detail"]
    shown = (await page(served, "/dashboard")).words()
    assert "1 stored file is damaged" in shown
    assert f"{name} is not what was stored" in shown
    async with served.admin.get("/metrics") as response:
        assert "appliance_damaged_files 1.0" in await response.text()

    place_of(served, name).write_bytes(before)
    assert (await scrubber(served).pass_over_all())[0] == 0
    async with served.admin.get(url) as response:
        assert response.status == 200
    assert "damaged" not in (await page(served, "/dashboard?fresh=1")).words()


async def test_a_deleted_file_is_damaged_no_more(serve: Serve) -> None:
    served = await serve(workers=True, scrub_bytes_per_s="0")
    job = await stored(served)
    flip(place_of(served, "cat.jpg"))
    flip(place_of(served, "thumbnail.webp"))
    assert (await scrubber(served).pass_over_all())[0] == 2
    async with served.admin.delete(f"/jobs/{job['jobId']}") as response:
        assert response.status == 204
    assert (await scrubber(served).pass_over_all())[0] == 0


async def test_it_goes_on_where_it_was_and_rests_in_between(serve: Serve) -> None:
    served = await serve(workers=True, scrub_bytes_per_s="0")
    for number in range(3):
        await stored(served, f"{number}.jpg")
    month_s = 30 * 24 * 3600.0
    await scrubber(served, month_s).run_once()  # originals
    flip(place_of(served, "1.jpg"))
    await scrubber(served, month_s).run_once()  # their end; another life, as after a restart
    flip((served.data_dir / "files").rglob("thumbnail.webp").__next__())
    assert await scrubber(served, month_s).run_once() == {"damaged": 1, "sound_again": 0}
    await scrubber(served, month_s).run_once()  # the end of the pass
    assert await scrubber(served, month_s).run_once() == {}
    assert await scrubber(served, 0.0).run_once() == {"damaged": 1, "sound_again": 0}


async def test_by_itself(serve: Serve) -> None:
    served = await serve(workers=True, scrub_every_days="0")
    job = await stored(served)
    flip(place_of(served, "cat.jpg"))
    url = f"/jobs/{job['jobId']}/files/original"
    while True:  # the test's own timeout is the deadline
        async with served.admin.head(url) as response:
            if response.status == 500:
                break
