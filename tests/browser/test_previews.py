"""The picture of a card while its file is still on its way."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from tests import media
from tests.browser.conftest import signed_in
from tests.browser.test_pages import WAIT_MS, a_file, card
from tests.conftest import Serve

pytestmark = pytest.mark.browser

COUNTED = """
window.held = new Set();
window.decoded = 0;
const { decode } = Image.prototype;
Image.prototype.decode = function () { decoded += 1; return decode.call(this); };
const { createObjectURL, revokeObjectURL } = URL;
URL.createObjectURL = (blob) => {
  const address = createObjectURL.call(URL, blob);
  held.add(address);
  return address;
};
URL.revokeObjectURL = (address) => { held.delete(address); revokeObjectURL.call(URL, address); };
"""


async def test_small_pictures_stand_in_until_the_thumbnails_are_there(
    serve: Serve, browser: Browser
) -> None:
    served = await serve(workers=True)
    await served.json("PUT", "/pauses/type/IMAGE", json={"reason": "tests"})
    visitor = await signed_in(served, browser)
    page = visitor.page
    await visitor.context.add_init_script(COUNTED)
    await page.reload()
    await page.set_input_files(
        "#choose",
        [
            a_file("bomb.png", media.png_header_bomb(20_000, 20_000), "image/png"),
            a_file("broken.jpg", b"\xff\xd8\xff no picture", "image/jpeg"),
            a_file("notes.txt", b"words", "text/plain"),
            a_file("cat.jpg", media.jpeg(1600, 1200), "image/jpeg"),
        ],
    )
    picture = card(page, "cat.jpg").locator(".picture-img")
    await expect(picture).to_be_visible(timeout=WAIT_MS)
    assert (await picture.get_attribute("src") or "").startswith("blob:")
    size = await picture.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert size == [256, 192]  # not the photograph itself
    for name in ("bomb.png", "broken.jpg", "notes.txt"):  # they came before it
        await expect(card(page, name).locator(".picture-img")).to_be_hidden()
    assert await page.evaluate("[held.size, decoded]") == [1, 1]

    async with served.admin.delete("/pauses/type/IMAGE") as response:
        assert response.status == 204
    await expect(card(page, "cat.jpg").locator('[src$="/thumbnail.webp"]')).to_be_visible(
        timeout=WAIT_MS
    )
    assert await page.evaluate("held.size") == 0
    assert visitor.complaints == []
    await visitor.context.close()
