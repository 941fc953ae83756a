"""Earlier uploads: searched and filtered in place, older ones fetched below."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from appliance.web import pages
from tests import media
from tests.browser.conftest import Visitor
from tests.browser.test_pages import WAIT_MS, a_file, card

pytestmark = pytest.mark.browser


async def test_earlier_uploads_are_found_while_one_is_on_its_way(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "RECENT", 2)
    page = visitor.page
    names = ("Beach.jpg", "beach plan.txt", "Invoice.pdf")
    contents = (media.jpeg(64, 48), b"sand\n", media.pdf(1))
    kinds = ("image/jpeg", "text/plain", "application/pdf")
    files = [a_file(*one) for one in zip(names, contents, kinds, strict=True)]
    for file in files:
        await page.set_input_files("#choose", [file])
        await expect(card(page, file["name"])).to_have_attribute(
            "data-status", "COMPLETED", timeout=WAIT_MS
        )
    await page.reload()
    earlier = page.locator("#earlier .card")
    await expect(earlier).to_have_count(2)
    await page.get_by_role("link", name="Older uploads").click()
    await expect(earlier).to_have_count(3)
    await expect(page.get_by_role("link", name="Older uploads")).to_have_count(0)

    await page.set_input_files("#choose", [a_file("now.txt", b"new\n", "text/plain")])
    await page.get_by_placeholder("Name or id").fill("BEACH")
    await expect(earlier).to_have_count(2)
    await expect(page.locator("#now .card")).to_have_count(1)  # it was no new page
    await page.get_by_label("Type").select_option("IMAGE")
    await expect(earlier).to_have_count(1)
    await expect(card(page, "Beach.jpg")).to_be_visible()
    assert "q=BEACH" in page.url
    assert "type=IMAGE" in page.url

    await page.get_by_placeholder("Name or id").fill("nothing like it")
    await expect(page.get_by_text("No upload matches.")).to_be_visible()
    await page.reload()  # the address has it all
    await expect(page.get_by_text("No upload matches.")).to_be_visible()
    await page.get_by_role("link", name="Show all").click()
    await expect(earlier).to_have_count(2)
    assert visitor.complaints == []
