"""The review in a real browser: dead letters tried again and discarded, pools paused, live and
without scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from appliance.permissions import Role
from tests.browser.conftest import Visitor, signed_in
from tests.conftest import Serve
from tests.web.wire import claim, complete, fail, failed

pytestmark = pytest.mark.browser

WAIT_MS = 15_000
LETTERS = "/dashboard/dead-letters"
JOBS = "/dashboard/jobs"


@pytest.fixture
async def reviewer(serve: Serve, browser: Browser) -> AsyncIterator[Visitor]:
    """An admin, on an appliance without workers: the tests say how each try ends."""
    one = await signed_in(await serve(), browser, role=Role.ADMIN)
    one.page.set_default_timeout(WAIT_MS)
    yield one
    await one.context.close()
    assert one.complaints == []


async def test_one_then_all_of_a_group(reviewer: Visitor) -> None:
    page, served = reviewer.page, reviewer.served
    ids = [await failed(served, name=f"{n}.txt") for n in range(3)]
    await page.goto(f"{served.url}/dashboard")
    await page.get_by_role("link", name="3 jobs wait for review").click()
    group = page.locator(".group")
    await group.get_by_role("button", name="Retry 1").click()
    await expect(page.locator(".redrive")).to_contain_text("0 of 1 done, none failed again.")
    await expect(page.locator("#summary")).to_have_text("2 jobs wait for review.")
    await expect(group.get_by_role("button", name="Retry 1")).to_have_count(0)  # while it runs
    await claim(served, ids[0])
    await complete(served, ids[0], attempt=2)
    # By itself: it went well, and the next try is offered.
    await expect(page.locator(".redrive")).to_contain_text("1 of 1 done, none failed again.")
    await expect(group).to_contain_text("1 of 1 done")
    await group.get_by_role("button", name="Retry all 2").click()
    await expect(page.locator("#summary")).to_have_text("Nothing waits for review.")
    for job_id in ids[1:]:
        assert (await served.json("GET", f"/status/{job_id}"))["status"] == "PENDING"


async def test_a_file_is_processed_again_with_another_preset(reviewer: Visitor) -> None:
    page, served = reviewer.page, reviewer.served
    job_id = await failed(served)
    await page.goto(f"{served.url}{JOBS}/{job_id}")
    await page.locator("summary", has_text="Process again").click()
    await page.get_by_label("Preset").select_option("thumbnail")
    await page.get_by_role("button", name="Process again").click()
    await page.wait_for_url(f"{served.url}/dashboard")
    made = (await served.json("GET", "/jobs"))["jobs"]
    assert [(job["preset"], job["status"]) for job in made] == [
        ("thumbnail", "PENDING"),
        ("default", "FAILED"),
    ]


async def test_waves_are_seen_to_stop_by_themselves(reviewer: Visitor) -> None:
    page, served = reviewer.page, reviewer.served
    ids = [await failed(served, name=f"{n}.txt") for n in range(13)]
    await page.goto(f"{served.url}{LETTERS}")
    await page.locator(".group").get_by_role("button", name="Retry in waves").click()
    redrive = page.locator(".redrive")
    await expect(redrive).to_contain_text("Wave 1: 0 of 1 done")
    await claim(served, ids[0])
    await complete(served, ids[0], attempt=2)
    await expect(redrive).to_contain_text("Wave 2: 0 of 10 done, none failed again.")
    await expect(redrive).to_contain_text("2 more when this goes well")
    await claim(served, ids[1])
    await fail(served, ids[1], attempt=2)
    await expect(redrive).to_contain_text(
        "Stopped by itself: 1 of 10 failed again, 9 still under way; 2 were not begun."
    )
    await expect(page.locator("#summary")).to_have_text("3 jobs wait for review.")


async def test_waves_are_stopped_by_hand(reviewer: Visitor) -> None:
    page, served = reviewer.page, reviewer.served
    ids = [await failed(served, name=f"{n}.txt") for n in range(3)]
    await page.goto(f"{served.url}{LETTERS}")
    await page.locator(".group").get_by_role("button", name="Retry in waves").click()
    redrive = page.locator(".redrive")
    await redrive.get_by_role("button", name="Stop").click()
    await expect(redrive).to_contain_text("Stopped by hand")
    await expect(redrive).to_contain_text("2 were not begun")
    await expect(redrive.get_by_role("button", name="Stop")).to_have_count(0)
    await claim(served, ids[0])
    await complete(served, ids[0], attempt=2)
    # What was not begun waits still, and is offered again.
    await expect(page.locator("#summary")).to_have_text("2 jobs wait for review.")
    await expect(page.locator(".group").get_by_role("button", name="Retry 1")).to_be_visible()


async def test_a_job_is_followed_from_its_card_to_its_end(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.page
    path = tmp_path / "notes.txt"
    path.write_text("Walden")
    await page.set_input_files("#choose", path)
    await page.get_by_role("link", name="Details").click()
    await page.wait_for_url("**/uploads/*")
    await expect(page.locator("#summary")).to_contain_text("Done")
    await expect(page.locator(".life > li")).to_have_count(3)
    await page.get_by_role("link", name="Attempt 1").click()
    await expect(page.locator("#attempt-1")).to_be_in_viewport()
    await page.locator(".confirm summary", has_text="Delete").click()
    await page.get_by_role("button", name="Delete for good").click()
    await page.wait_for_url(f"{visitor.served.url}/")
    await expect(page.get_by_role("link", name="Details")).to_have_count(0)


async def test_those_that_are_picked(reviewer: Visitor) -> None:
    page, served = reviewer.page, reviewer.served
    for n in range(4):
        await failed(served, name=f"{n}.txt")
    await page.goto(f"{served.url}{LETTERS}")
    retry = page.locator("#selected > button")
    await expect(retry).to_be_disabled()
    await page.get_by_label("Select 1.txt").check()
    await page.get_by_label("Select 3.txt").check()
    await expect(page.locator("#picked")).to_have_text("2 selected")
    # Another one arrives: what was picked stays picked.
    await failed(served, name="new.txt")
    await expect(page.locator("tbody tr")).to_have_count(5)
    await expect(page.get_by_label("Select 3.txt")).to_be_checked()
    await page.locator("#selected .menu > summary").click()
    await page.get_by_role("button", name="Discard them").click()
    await expect(page.locator("tbody tr")).to_have_count(3)
    await page.get_by_label("All on this page").check()
    await expect(page.locator("#picked")).to_have_text("3 selected")
    await retry.click()
    await expect(page.locator("#summary")).to_have_text("Nothing waits for review.")
    await expect(page.locator(".redrive")).to_contain_text("3 chosen jobs")


async def test_a_group_is_discarded_only_when_it_was_confirmed(reviewer: Visitor) -> None:
    page, served = reviewer.page, reviewer.served
    for n in range(2):
        await failed(served, name=f"{n}.txt")
    await page.goto(f"{served.url}{LETTERS}")
    group = page.locator(".group")
    await group.locator("summary", has_text="Discard all 2").click()
    await expect(group).to_contain_text("These 2 jobs leave the review and stay failed")
    await page.keyboard.press("Escape")
    await expect(group.get_by_role("button", name="Discard 2 jobs")).to_be_hidden()
    await expect(group.locator("summary")).to_be_focused()
    await page.keyboard.press("Enter")
    await group.get_by_role("button", name="Discard 2 jobs").click()
    await expect(page.locator("#summary")).to_have_text("Nothing waits for review.")


async def test_the_story_of_one_and_its_end(reviewer: Visitor) -> None:
    page, served = reviewer.page, reviewer.served
    job_id = await failed(served, name="cat.txt")
    await page.goto(f"{served.url}{LETTERS}")
    await page.locator("tbody").get_by_role("link", name="cat.txt").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("cat.txt")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator("#summary")).to_have_text("In the queue.")
    await claim(served, job_id)
    await fail(served, job_id, attempt=2)
    await expect(page.locator(".attempt")).to_have_count(2)  # live
    await page.locator(".letter-acts .confirm summary").click()
    await page.get_by_role("button", name="Delete for good").click()
    await page.wait_for_url(f"{served.url}{LETTERS}")
    await expect(page.locator("#summary")).to_have_text("Nothing waits for review.")
    async with served.admin.get(f"/status/{job_id}") as response:
        assert response.status == 404


async def test_a_pool_is_paused_and_resumed(reviewer: Visitor) -> None:
    page, served = reviewer.page, reviewer.served
    await page.goto(f"{served.url}/dashboard")
    videos = page.locator("#pool-VIDEO")
    await videos.locator("summary").click()
    await videos.get_by_role("button", name="Pause videos").click()
    assert not (await served.json("GET", "/pauses"))["pauses"]  # the reason is asked for
    await videos.get_by_label("Why").fill("The codec is being mended.")
    await videos.get_by_label("For how long").select_option("8 hours")
    await videos.get_by_role("button", name="Pause videos").click()
    await expect(videos).to_contain_text("Paused")
    await expect(videos).to_contain_text("for another 8 h: The codec is being mended.")
    await expect(page.locator("#summary")).to_have_text("Videos are paused.")
    await videos.get_by_role("button", name="Resume").click()
    await expect(page.locator("#summary")).to_have_text("Everything is all right.")
    await page.get_by_role("link", name="Audit log").click()
    await expect(page.locator("tbody tr")).to_have_count(2)


async def test_a_refresh_takes_nothing_from_whoever_types(reviewer: Visitor) -> None:
    page, served = reviewer.page, reviewer.served
    await page.goto(f"{served.url}/dashboard")
    images = page.locator("#pool-IMAGE")
    await images.locator("summary").click()
    reason = images.get_by_label("Why")
    await reason.fill("half a wor")
    await failed(served, name="new.txt")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await expect(page.locator("#summary")).to_have_text("1 job waits for review.")
    await expect(reason).to_be_focused()
    await expect(reason).to_have_value("half a wor")
    await page.keyboard.type("d")
    await expect(reason).to_have_value("half a word")


async def test_an_act_leaves_the_page_where_it_is(reviewer: Visitor) -> None:
    page, served = reviewer.page, reviewer.served
    for n in range(40):
        await failed(served, name=f"{n}.txt")
    await page.goto(f"{served.url}{LETTERS}")
    await page.evaluate("window.stayed = true")
    await page.get_by_label("Select 0.txt").check()
    row = page.locator("tbody tr", has_text="5.txt").last
    await row.scroll_into_view_if_needed()
    before = await page.evaluate("scrollY")
    assert before > 0
    await page.get_by_role("button", name="Discard 5.txt", exact=True).click()
    await expect(page.locator("tbody tr")).to_have_count(39)
    assert await page.evaluate("window.stayed")
    assert before - 60 <= await page.evaluate("scrollY") <= before  # one row less
    await expect(page.get_by_label("Select 0.txt")).to_be_checked()
    await expect(page.locator("#picked")).to_have_text("1 selected")
    await expect(page.locator("#announcer")).to_contain_text("Discard 5.txt: done")


async def test_a_refusal_is_shown(reviewer: Visitor) -> None:
    page, served = reviewer.page, reviewer.served
    job_id = await failed(served, name="cat.txt")
    await page.goto(f"{served.url}{JOBS}/{job_id}")
    await page.route("**/*fragment=panels*", lambda route: route.abort())  # it looks as it did
    await served.json("POST", f"/jobs/{job_id}/retry")
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator("main")).to_contain_text("It cannot be tried again.")
    await page.unroute_all()
    await page.get_by_role("link", name="Back").click()
    await expect(page.locator("#summary")).to_have_text("In the queue.")
    # The console tells of the 409 and of the broken refresh; both were provoked.
    reviewer.complaints[:] = [
        one for one in reviewer.complaints if "409" not in one and "ERR_FAILED" not in one
    ]


@pytest.mark.parametrize("width", [390, 1024])
async def test_without_scripts(serve: Serve, browser: Browser, width: int) -> None:
    served = await serve()
    first = await failed(served, name="first.txt", message="x" * 400)
    await failed(served, name="second.txt", code="corrupt_file")
    visitor = await signed_in(
        served, browser, role=Role.ADMIN, java_script_enabled=False,
        viewport={"width": width, "height": 800},
    )  # fmt: skip
    page = visitor.page
    await page.goto(f"{served.url}/dashboard")
    await page.get_by_role("link", name="2 jobs wait for review").click()
    await page.get_by_label("Select second.txt").check()
    await page.locator("#selected .menu > summary").click()
    await page.get_by_role("button", name="Discard them").click()
    await expect(page.locator("#summary")).to_have_text("1 job waits for review.")
    await page.get_by_label("Error code").select_option("child_crashed")
    await page.get_by_role("button", name="Filter").click()
    await page.wait_for_url("**/dead-letters?owner=&type=&code=child_crashed")
    await page.locator(".group").get_by_role("button", name="Retry").click()
    await expect(page.locator("#summary")).to_have_text("Nothing waits for review.")
    await expect(page.locator(".redrive")).to_contain_text("first.txt")
    await page.goto(f"{served.url}{JOBS}/{first}")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.locator("#summary")).to_contain_text("Cancelled")
    await page.locator(".letter-acts .confirm summary").click()
    await page.get_by_role("button", name="Delete for good").click()
    await page.wait_for_url(f"{served.url}/dashboard")
    await visitor.context.close()
