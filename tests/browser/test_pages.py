"""People's way through the pages: upload, watch it happen, open the results."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, FilePayload, Page, expect

from tests import media
from tests.browser.conftest import Visitor, signed_in
from tests.conftest import Serve

pytestmark = pytest.mark.browser

WAIT_MS = 30_000
HOSTILE_NAME = '<img src=x onerror=alert(1)> "quoted".jpg'


def a_file(name: str, content: bytes, media_type: str) -> FilePayload:
    return {"name": name, "mimeType": media_type, "buffer": content}


def card(page: Page, name: str):  # type: ignore[no-untyped-def]
    return page.locator(f'.card:has(.name[title="{name}"])')


async def test_several_files_at_once_become_their_results(visitor: Visitor) -> None:
    page = visitor.page
    await page.set_input_files(
        "#choose",
        [
            a_file("cat.jpg", media.jpeg(1600, 1200), "image/jpeg"),
            a_file("paper.pdf", media.pdf(2, "Quarterly report"), "application/pdf"),
            a_file("notes.txt", "Grüße\n".encode(), "text/plain"),
        ],
    )
    for name in ("cat.jpg", "paper.pdf", "notes.txt"):
        await expect(card(page, name)).to_have_attribute(
            "data-status", "COMPLETED", timeout=WAIT_MS
        )
    thumbnail = card(page, "cat.jpg").locator(".picture-img")
    await expect(thumbnail).to_be_visible()
    width = await thumbnail.evaluate(
        "async image => { await image.decode(); return image.naturalWidth }"
    )
    assert width == 320

    # The same after a reload, made by the server this time.
    await page.reload()
    await expect(card(page, "cat.jpg")).to_have_attribute("data-status", "COMPLETED")
    await card(page, "cat.jpg").locator(".picture").click()
    await expect(page.locator("#viewer")).to_be_visible()
    shown = page.locator("#stage img").first
    await expect(shown).to_be_visible()
    assert (
        await shown.evaluate("async image => { await image.decode(); return image.naturalWidth }")
        >= 1280
    )
    await page.keyboard.press("Escape")
    await expect(page.locator("#viewer")).to_be_hidden()


async def test_a_dropped_video_plays_when_it_is_done(visitor: Visitor) -> None:
    page = visitor.page
    content = media.mp4(2, 640, 360)
    dropped = await page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "clip.mp4", {type: "video/mp4"}));
            return transfer;
        }""",
        list(content),
    )
    for kind in ("dragenter", "dragover", "drop"):
        await page.dispatch_event("body", kind, {"dataTransfer": dropped})
    clip = card(page, "clip.mp4")
    await expect(clip).to_have_attribute("data-status", "COMPLETED", timeout=WAIT_MS)
    await clip.locator(".picture").click()
    video = page.locator("#stage video")
    await expect(video).to_be_visible()
    # Chromium of Debian plays H.264: the length shows that it understood the file.
    await page.wait_for_function(
        "() => document.querySelector('#stage video').duration > 1.5", timeout=WAIT_MS
    )


async def test_a_film_has_its_picture_while_it_is_being_transcoded(visitor: Visitor) -> None:
    page = visitor.page
    film = a_file("film.mp4", media.long_film(), "video/mp4")
    await page.set_input_files("#choose", [film])
    working = page.locator('.card[data-status="PROCESSING"]')
    picture = working.locator('.picture-img[src$="/thumbnail.webp"]')
    await expect(picture).to_be_visible(timeout=WAIT_MS)
    await page.reload()  # the same, made by the server
    await expect(picture).to_be_visible(timeout=WAIT_MS)
    await working.locator(".picture").click()
    poster = page.locator("#stage img")
    await expect(poster).to_be_visible()
    await poster.evaluate("image => image.decode()")
    await page.keyboard.press("Escape")

    # It goes with its attempt.
    job_id = await working.get_attribute("data-job")
    await visitor.served.json("POST", f"/jobs/{job_id}/cancel")
    await expect(card(page, "film.mp4")).to_have_attribute("data-status", "CANCELLED")
    await expect(card(page, "film.mp4").locator(".picture-img")).to_be_hidden()
    assert await card(page, "film.mp4").locator(".picture").get_attribute("href") is None


async def test_a_bad_file_says_what_is_wrong_and_the_others_go_on(visitor: Visitor) -> None:
    page = visitor.page
    await page.set_input_files(
        "#choose",
        [
            a_file("broken.jpg", media.truncated(media.jpeg(800, 600)), "image/jpeg"),
            a_file("good.png", media.png(64, 64), "image/png"),
        ],
    )
    broken = card(page, "broken.jpg")
    await expect(broken).to_have_attribute("data-status", "FAILED", timeout=WAIT_MS)
    await expect(broken).to_contain_text("damaged")
    await expect(card(page, "good.png")).to_have_attribute(
        "data-status", "COMPLETED", timeout=WAIT_MS
    )


async def test_a_refused_file_says_so_on_its_card(visitor: Visitor) -> None:
    page = visitor.page
    await page.set_input_files("#choose", [a_file("not.jpg", media.png(8, 8), "image/jpeg")])
    refused = page.locator('.card:has(.name[title="not.jpg"])')
    await expect(refused).to_contain_text("the content is PNG", timeout=WAIT_MS)
    # The console tells of the 415 itself; it is what was provoked.
    visitor.complaints[:] = [one for one in visitor.complaints if "415" not in one]


async def test_hostile_names_are_only_text(visitor: Visitor) -> None:
    page = visitor.page
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    await page.set_input_files("#choose", [a_file(HOSTILE_NAME, media.jpeg(64, 64), "image/jpeg")])
    first = page.locator("#now .card")
    await expect(first).to_have_attribute("data-status", "COMPLETED", timeout=WAIT_MS)
    await page.reload()
    shown = await page.locator("#earlier .card .name").first.text_content()
    assert shown == HOSTILE_NAME
    assert dialogs == []


async def test_the_chosen_preset_is_that_of_the_jobs(visitor: Visitor) -> None:
    """Of a small file, sent whole, and of one that is sent in pieces."""
    page = visitor.page
    says = page.locator("#preset-says")
    await expect(says).to_contain_text("Previews for the web")
    await page.get_by_label("Preset").select_option("thumbnail")
    await expect(says).to_have_text("Only a thumbnail, fast")
    large = b"A line of a larger text.\n" * 20_000
    await page.set_input_files(
        "#choose", [a_file("a.txt", b"words", "text/plain"), a_file("b.txt", large, "text/plain")]
    )
    for name in ("a.txt", "b.txt"):
        await expect(card(page, name)).to_have_attribute(
            "data-status", "COMPLETED", timeout=WAIT_MS
        )
    made = (await visitor.served.json("GET", "/jobs"))["jobs"]
    assert {job["filename"]: job["preset"] for job in made} == {
        "a.txt": "thumbnail",
        "b.txt": "thumbnail",
    }


async def test_without_javascript_the_form_still_uploads(serve: Serve, browser: Browser) -> None:
    visitor = await signed_in(await serve(workers=True), browser, java_script_enabled=False)
    page = visitor.page
    await page.set_input_files("#choose", [a_file("cat.jpg", media.jpeg(320, 240), "image/jpeg")])
    await page.get_by_label("Preset").select_option("thumbnail")
    await page.get_by_role("button", name="Upload").click()
    await page.wait_for_url(f"{visitor.served.url}/")
    while not await page.locator('.card[data-status="COMPLETED"]').count():
        await page.reload()
    (job,) = (await visitor.served.json("GET", "/jobs"))["jobs"]
    assert job["preset"] == "thumbnail"
    await visitor.context.close()


@pytest.mark.parametrize("width", [390, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_dashboard_shows_what_goes_on(
    serve: Serve, browser: Browser, width: int, scheme: str
) -> None:
    served = await serve(workers=True)
    done = await served.json("PUT", "/upload/cat.jpg", data=media.jpeg(320, 240))
    await served.finished(done["jobId"])
    context = await browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        extra_http_headers={"Authorization": served.admin.headers["Authorization"]},
    )
    page = await context.new_page()
    await page.goto(f"{served.url}/dashboard")
    await expect(page.get_by_role("heading", name="Everything is all right.")).to_be_visible()
    for panel in ("System health", "Metrics", "Recent jobs"):
        await expect(page.get_by_role("heading", name=panel)).to_be_visible()
    for figure in ("API", "Queue", "Workers", "Storage", "Uploads/min", "Success rate"):
        await expect(page.get_by_role("heading", name=figure, exact=True).first).to_be_visible()
    await expect(page.locator("table.jobs tbody tr")).to_have_count(1)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    # Live: a job that arrives now appears by itself.
    await served.json("PUT", "/upload/dog.jpg", data=media.jpeg(320, 240))
    await expect(page.locator("table.jobs tbody tr")).to_have_count(2, timeout=WAIT_MS)
    await context.close()
