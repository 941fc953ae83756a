"""A real Chromium on pages of a real appliance. `CHROMIUM` names another binary than Debian's."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from appliance.admin_key import create_key
from appliance.permissions import Role
from tests.conftest import Serve, Served


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium: `scripts/services install chromium`, or set CHROMIUM")
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield launched
        await launched.close()


class Visitor:
    """A signed-in person's browser; `complaints` holds what its console had to say."""

    def __init__(self, served: Served, context: BrowserContext, page: Page) -> None:
        self.served = served
        self.context = context
        self.page = page
        self.complaints: list[str] = []
        self.listen(page)

    def listen(self, page: Page) -> None:
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _heard(self, message: object) -> None:
        if message.type in ("error", "warning"):  # type: ignore[attr-defined]
            self.complaints.append(message.text)  # type: ignore[attr-defined]


async def signed_in(
    served: Served, browser: Browser, *, role: Role = Role.USER, **options: object
) -> Visitor:
    """Somebody with a key of their own, signed in through the form as a person does it."""
    from tests.web.wire import services_of

    shared = services_of(served)
    _, secret = await create_key(shared.database, name="visitor", role=role, now=shared.clock.now())
    context = await browser.new_context(**options)  # type: ignore[arg-type]
    page = await context.new_page()
    visitor = Visitor(served, context, page)
    await sign_in(page, served.url, secret)
    return visitor


async def sign_in(page: Page, url: str, secret: str) -> None:
    await page.goto(f"{url}/")
    assert "/signin?next=" in page.url
    await page.get_by_label("API key").fill(secret)
    await page.get_by_role("button", name="Sign in").click()
    # A viewer, who uploads nothing, comes to the dashboard.
    await page.wait_for_url(lambda there: "/signin" not in there)


@pytest.fixture
async def visitor(serve: Serve, browser: Browser) -> AsyncIterator[Visitor]:
    one = await signed_in(await serve(workers=True), browser)
    yield one
    await one.context.close()
    assert one.complaints == []


__all__ = ["Visitor", "sign_in", "signed_in"]
