"""Uppy in a real Chromium, on a page of another site, by way of CORS and a way that breaks."""

from __future__ import annotations

import hashlib
import random
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page

from tests.conftest import ADMIN_KEY, Serve, Served
from tests.tus.flaky import flaky
from tests.tus.peers import installed_node

pytestmark = pytest.mark.browser
SIZE = 1_500_000
CUTS = [200_000, 700_000, 1_300_000]
PAGE = '<!doctype html><title>Elsewhere</title><input type="file"><script src="/page.js"></script>'


@pytest.fixture(scope="module")
def script() -> str:
    """Uppy and the page's own script, in one."""
    node = installed_node()
    esbuild = node / "node_modules/.bin/esbuild"
    bundled = subprocess.run(
        [esbuild, "--bundle", "--log-level=error", node / "page.mjs"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return bundled.stdout


@pytest.fixture
async def elsewhere(script: str) -> AsyncIterator[str]:
    """The address of another site with the page."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def bundle(_: web.Request) -> web.Response:
        return web.Response(text=script, content_type="text/javascript")

    app = web.Application()
    app.add_routes([web.get("/", page), web.get("/page.js", bundle)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield "http://{}:{}/".format(*runner.addresses[0])
    await runner.cleanup()


@pytest.fixture
async def page(browser: Browser, elsewhere: str) -> AsyncIterator[Page]:
    context = await browser.new_context()
    one = await context.new_page()
    await one.goto(elsewhere)
    yield one
    await context.close()


@pytest.fixture
def words(tmp_path: Path) -> Path:
    path = tmp_path / "words.txt"
    path.write_bytes(random.Random(4).randbytes(SIZE // 2).hex().encode())
    return path


async def arrived(served: Served, job_id: str, sent: Path) -> None:
    job = await served.json("GET", f"/status/{job_id}")
    assert job["sha256"] == hashlib.sha256(sent.read_bytes()).hexdigest()
    assert (job["filename"], job["contentType"]) == ("words.txt", "text/plain")
    assert len((await served.json("GET", "/jobs"))["jobs"]) == 1


@pytest.mark.parametrize("options", [{}, {"chunkSize": 150_000}, {"parallelUploads": 3}])
async def test_uppy_on_a_page_of_another_site(
    serve: Serve, page: Page, words: Path, options: dict[str, int]
) -> None:
    served = await serve()
    told = {"endpoint": f"{served.url}/files", "key": ADMIN_KEY, **options}
    await page.locator("input").set_input_files(words)
    result = await page.evaluate("told => window.send(told)", told)
    assert result["errors"] == []
    await arrived(served, result["jobId"], words)


@pytest.mark.parametrize("silent", [False, True], ids=["broken off", "silent"])
async def test_uppy_goes_on_after_cuts(serve: Serve, page: Page, words: Path, silent: bool) -> None:
    served = await serve()
    async with flaky(served.url, CUTS, silent=silent) as broken:
        told = {"endpoint": f"{broken.url}/files", "key": ADMIN_KEY}
        await page.locator("input").set_input_files(words)
        result = await page.evaluate("told => window.send(told)", told)
        assert result["errors"] == []
        assert broken.made == len(CUTS)
    await arrived(served, result["jobId"], words)


async def test_uppy_goes_on_after_the_page_was_closed(
    serve: Serve, page: Page, words: Path
) -> None:
    """It remembers the address in the browser's storage."""
    served = await serve()
    async with flaky(served.url) as way:
        told = {"endpoint": f"{way.url}/files", "key": ADMIN_KEY, "chunkSize": 100_000}
        await page.locator("input").set_input_files(words)
        await page.evaluate("told => { window.send(told) }", told)
        await page.wait_for_function("size => window.sent > size / 3", arg=SIZE)
        await page.reload()
        await page.locator("input").set_input_files(words)
        result = await page.evaluate("told => window.send(told)", told)
        assert result["errors"] == []
        assert way.passed < SIZE * 1.3
    await arrived(served, result["jobId"], words)


async def test_a_page_is_told_why_it_may_not(serve: Serve, page: Page, words: Path) -> None:
    """The refusal reaches the page: it is not hidden as a failure of CORS."""
    served = await serve()
    told = {"endpoint": f"{served.url}/files", "key": "no key at all"}
    await page.locator("input").set_input_files(words)
    result = await page.evaluate("told => window.send(told)", told)
    assert "not_signed_in" in result["errors"][0]
    assert (await served.json("GET", "/jobs"))["jobs"] == []
