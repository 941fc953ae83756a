"""What every page owes to everybody: those who cannot see, cannot point, have a narrow screen or a
slow network. Rules of axe-core at WCAG 2.2 AA, and what no rule of it can tell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Request

from appliance.web import assets, installed_app, oidc, signin
from appliance.web.openapi.document import PAGES as HANDLERS
from appliance.web.routes import ROUTES
from tests.browser.every_page import PAGES, Shown, furnish
from tests.conftest import Serve, Served
from tests.tus.peers import INSTALLED

pytestmark = pytest.mark.browser

AXE = INSTALLED / "node_modules/axe-core/axe.min.js"

FIRST_VIEW_BYTES = 100_000
LARGEST_SHIFT = 0.01
"""Of Cumulative Layout Shift, which is good up to 0.1."""
NARROWEST_PX = 320
"""WCAG 2.2, 1.4.10: no scrolling in two directions."""
STEPS = 30
"""With the Tab key, on each page."""

WATCH = """
window.shifted = 0;
new PerformanceObserver(list => {
  for (const shift of list.getEntries()) if (!shift.hadRecentInput) window.shifted += shift.value;
}).observe({type: "layout-shift", buffered: true});
"""

JUDGE = """async () => {
  const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
  const found = await axe.run(document, {runOnly: tags, resultTypes: ["violations"]});
  return found.violations.flatMap(one => one.nodes.map(
    node => `${one.id}: ${node.target.join(" ")}: ${node.failureSummary.replace(/\\s+/g, " ")}`));
}"""

TOO_WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
  [...document.querySelectorAll("main *, header *, footer *")]
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
    .map(one => `${one.tagName}.${one.className} reaches to ${one.getBoundingClientRect().right}`)
    .slice(0, 5)"""

FOCUSED = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const box = one.getBoundingClientRect();
  const style = getComputedStyle(one);
  const at = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  const name = `${one.tagName} ${one.className} ${one.textContent.trim().slice(0, 30)}`;
  const isSeen = at &&
    (one.contains(at) || at.contains(one) || at.closest("label")?.control === one);
  const isMarked = style.outlineStyle !== "none" || style.boxShadow !== "none";
  const isNew = !window.met.has(one);
  window.met.add(one);
  return {name, isNew, isSeen, isMarked};
}"""


@pytest.fixture
async def served(serve: Serve) -> Served:
    return await serve(workers=True, outgoing="any")


@pytest.fixture
async def stands_for(served: Served) -> Mapping[str, str]:
    return await furnish(served)


class Looker:
    """Opens pages, and remembers what came over the wire and what went wrong."""

    def __init__(self, served: Served, signed_in: BrowserContext, stranger: BrowserContext) -> None:
        self.served = served
        self._contexts = {True: signed_in, False: stranger}
        self.faults: list[str] = []

    async def open(self, shown: Shown, stands_for: Mapping[str, str]) -> Page:
        page = await self._contexts[shown.is_signed_in].new_page()
        self.received_bytes = 0
        self._listen(page, shown)
        devtools = await page.context.new_cdp_session(page)
        await devtools.send("Network.enable")
        devtools.on("Network.dataReceived", self._received)
        answer = await page.goto(self.served.url + shown.path.format(**stands_for))
        assert answer is not None
        assert answer.status == shown.status, shown
        await page.evaluate("document.fonts.ready")
        await page.wait_for_function(
            "() => [...document.images].every(one => one.loading === 'lazy' || one.complete)"
        )
        return page

    def found(self, shown: Shown, faults: list[str]) -> None:
        self.faults += [f"{shown.name}: {fault}" for fault in faults]

    def _listen(self, page: Page, shown: Shown) -> None:
        def asked(request: Request) -> None:
            url = urlsplit(request.url)
            if url.scheme not in ("data", "blob") and f"http://{url.netloc}" != self.served.url:
                self.found(shown, [f"asked another host: {request.url}"])

        def said(message: Any) -> None:
            if message.type in ("error", "warning") and str(shown.status) not in message.text:
                self.found(shown, [f"console: {message.text}"])

        page.on("request", asked)
        page.on("console", said)
        page.on("pageerror", lambda error: self.found(shown, [f"script: {error}"]))

    def _received(self, event: Mapping[str, Any]) -> None:
        self.received_bytes += event["encodedDataLength"]


@pytest.fixture(params=[(390, "dark"), (1280, "light")], ids=["phone-dark", "desktop-light"])
async def looker(
    served: Served, browser: Browser, request: pytest.FixtureRequest
) -> AsyncIterator[Looker]:
    width, scheme = request.param
    options: dict[str, Any] = {
        "viewport": {"width": width, "height": 800},
        "color_scheme": scheme,
        "reduced_motion": "reduce",
    }
    authorization = {"Authorization": served.admin.headers["Authorization"]}
    signed_in = await browser.new_context(**options, extra_http_headers=authorization)
    stranger = await browser.new_context(**options)
    for context in (signed_in, stranger):
        await context.add_init_script(WATCH)
    yield Looker(served, signed_in, stranger)
    await signed_in.close()
    await stranger.close()


@pytest.mark.timeout(300)
async def test_every_page_serves_everybody(looker: Looker, stands_for: Mapping[str, str]) -> None:
    if not AXE.exists():
        pytest.skip("no axe-core: `scripts/services install node`")
    axe = AXE.read_text()
    for shown in PAGES:
        page = await looker.open(shown, stands_for)
        if looker.received_bytes > FIRST_VIEW_BYTES:
            looker.found(shown, [f"its first view takes {looker.received_bytes} bytes"])
        await page.evaluate(axe)
        looker.found(shown, await page.evaluate(JUDGE))
        if await page.locator("#panels").count():
            async with page.expect_event("requestfinished"):
                await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        shifted = await page.evaluate("window.shifted")
        if shifted > LARGEST_SHIFT:
            looker.found(shown, [f"it jumps, by {shifted}"])
        looker.found(shown, await page.evaluate(TOO_WIDE))
        looker.found(shown, await walked_by_keyboard(page))
        await page.set_viewport_size({"width": NARROWEST_PX, "height": 640})
        looker.found(shown, await page.evaluate(TOO_WIDE))
        await page.close()
    assert looker.faults == []


async def walked_by_keyboard(page: Page) -> list[str]:
    """What hides the focus, or does not show where it is, on the first steps through the page."""
    faults = []
    await page.evaluate("window.met = new Set()")
    for _ in range(STEPS):
        await page.keyboard.press("Tab")
        focused = await page.evaluate(FOCUSED)
        if focused is None or not focused["isNew"]:
            break
        if not focused["isSeen"]:
            faults.append(f"the focus is hidden: {focused['name']}")
        if not focused["isMarked"]:
            faults.append(f"the focus is not marked: {focused['name']}")
    return faults


def test_no_page_is_left_out() -> None:
    no_pages = {
        assets.get_static,
        installed_app.get_manifest,
        oidc.begin,
        oidc.finish,
        signin.sign_out,
    }
    routes = {
        route.path
        for route in ROUTES
        if route.method == "GET" and route.handler in HANDLERS - no_pages
    }
    assert {shown.route for shown in PAGES} - {"/nothing"} == routes
