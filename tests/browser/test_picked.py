"""Several uploads at once: picked, downloaded, shared, deleted; with and without scripts."""

from __future__ import annotations

import zipfile

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import signed_in
from tests.browser.test_pages import WAIT_MS, a_file, card
from tests.conftest import Serve, Served

pytestmark = pytest.mark.browser


async def sent(page: Page, *names: str) -> None:
    files = [a_file(name, name.encode(), "text/plain") for name in names]
    await page.set_input_files("#choose", files)
    for name in names:
        await expect(card(page, name)).to_have_attribute(
            "data-status", "COMPLETED", timeout=WAIT_MS
        )


async def names_left(served: Served) -> set[str]:
    return {job["filename"] for job in (await served.json("GET", "/jobs"))["jobs"]}


async def test_of_this_visit_and_of_earlier_ones(serve: Serve, browser: Browser) -> None:
    served = await serve(workers=True)
    visitor = await signed_in(
        served, browser, permissions=["clipboard-read", "clipboard-write"], accept_downloads=True
    )
    page = visitor.page
    await sent(page, "1.txt", "2.txt", "3.txt")
    await page.reload()
    await sent(page, "4.txt")
    bar = page.locator("#picked")
    await expect(bar).to_be_hidden()

    def box(name: str):  # type: ignore[no-untyped-def]
        return page.get_by_label(f"Select {name}", exact=True)

    await box("4.txt").focus()
    await page.keyboard.press("Space")
    await expect(bar).to_contain_text("1 selected")
    names = await page.locator("#earlier .name").all_inner_texts()
    await box(names[1].replace("\n", "")).click(modifiers=["Shift"])
    await expect(bar).to_contain_text("3 selected")  # with the one between them
    async with page.expect_download() as coming:
        await page.get_by_role("button", name="Download").click()
    with zipfile.ZipFile(await (await coming.value).path()) as found:
        assert set(found.namelist()) == {"4.txt", *names[:2]}

    await page.get_by_label("How long the links are good").select_option("for a day")
    await bar.get_by_role("button", name="Share").click()
    await expect(bar).to_contain_text("3 links copied")
    links = (await page.evaluate("navigator.clipboard.readText()")).split("\n")
    for link in links:
        async with served.anonymous.get(link) as response:
            assert response.status == 200

    await bar.get_by_role("button", name="Delete").click()
    question = page.get_by_role("dialog", name="Delete 3 uploads?")
    await question.get_by_role("button", name="Keep").click()
    await expect(page.locator(".card")).to_have_count(4)
    await bar.get_by_role("button", name="Delete").click()
    await question.get_by_role("button", name="Delete 3 uploads").click()
    await expect(page.locator(".card")).to_have_count(1)
    await expect(page.locator(".card .pick input")).to_be_focused()
    await expect(bar).to_be_hidden()
    assert await names_left(served) == {names[2]}
    assert visitor.complaints == []
    await visitor.context.close()


async def test_what_cannot_be_deleted_yet_is_told_and_stays(serve: Serve, browser: Browser) -> None:
    served = await serve()
    visitor = await signed_in(served, browser)
    page = visitor.page
    await page.set_input_files("#choose", [a_file("waits.txt", b"words", "text/plain")])
    await page.get_by_label("Select waits.txt").check()
    await page.locator("#picked").get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Delete 1 upload").click()
    await expect(page.locator("#picked-says")).to_contain_text("cancel what is being worked on")
    await expect(card(page, "waits.txt")).to_be_visible()
    await visitor.context.close()


async def test_without_scripts_the_same_by_forms(serve: Serve, browser: Browser) -> None:
    served = await serve(workers=True)
    visitor = await signed_in(served, browser, java_script_enabled=False)
    page = visitor.page
    files = [a_file(f"{n}.txt", b"words", "text/plain") for n in range(3)]
    await page.set_input_files("#choose", files)
    await page.get_by_role("button", name="Upload").click()
    while await page.locator('.card[data-status="COMPLETED"]').count() < 3:
        await page.goto(f"{served.url}/")

    for n in (0, 2):
        await page.get_by_label(f"Select {n}.txt").check()
    await page.get_by_label("How long the links are good").select_option("for 30 days")
    await page.locator("#picked").get_by_role("button", name="Share").click()
    links = page.locator(".shared input[readonly]")
    await expect(links).to_have_count(2)
    async with served.anonymous.get(await links.first.input_value()) as response:
        assert await response.read() == b"words"

    await page.goto(f"{served.url}/")
    for n in (0, 2):
        await page.get_by_label(f"Select {n}.txt").check()
    await page.locator("#picked").get_by_role("button", name="Delete").click()
    await expect(page.get_by_role("heading", name="Delete 2 uploads?")).to_be_visible()
    await page.get_by_role("button", name="Delete 2 uploads").click()
    await page.wait_for_url(f"{served.url}/")
    assert await names_left(served) == {"1.txt"}

    await page.get_by_role("link", name="Details").click()
    await page.locator("details.share summary").click()
    await page.get_by_role("button", name="Make the link").click()
    async with served.anonymous.get(await links.first.input_value()) as response:
        assert await response.read() == b"words"
    await visitor.context.close()
