"""Who sees what on the pages, and what the pages tell of a file that nobody may have."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, FilePayload, expect

from appliance.permissions import Role
from tests import media
from tests.browser.conftest import signed_in
from tests.clamd import EICAR, SIGNATURE, Clamd
from tests.conftest import Serve
from tests.web.wire import failed

pytestmark = pytest.mark.browser

WAIT_MS = 30_000


async def test_an_infected_file_says_so_and_the_others_go_on(
    serve: Serve, browser: Browser, tmp_path: Path
) -> None:
    clamd = Clamd(tmp_path / "clamd")
    await clamd.start()
    try:
        served = await serve(workers=True, clamd_url=clamd.url)
        owner = await signed_in(served, browser)
        page = owner.page
        bad = FilePayload(name="bad.txt", mimeType="text/plain", buffer=EICAR)
        good = FilePayload(name="good.png", mimeType="image/png", buffer=media.png(64, 64))
        await page.set_input_files("#choose", [bad, good])
        infected = page.locator('.card:has(.name[title="bad.txt"])')
        await expect(infected).to_have_attribute("data-status", "FAILED", timeout=WAIT_MS)
        await expect(infected).to_contain_text(SIGNATURE)
        await expect(infected.get_by_role("link", name="Download")).to_be_hidden()
        fine = page.locator('.card:has(.name[title="good.png"])')
        await expect(fine).to_have_attribute("data-status", "COMPLETED", timeout=WAIT_MS)

        # Its owner cannot unlock it; whoever runs the server can.
        job_id = await infected.get_attribute("data-job")
        await page.goto(f"{served.url}/uploads/{job_id}")
        await expect(page.get_by_text(SIGNATURE).first).to_be_visible()
        await expect(page.get_by_text("Release")).to_have_count(0)
        chief = await signed_in(served, browser, role=Role.ADMIN)
        await chief.page.goto(f"{served.url}/dashboard/jobs/{job_id}")
        await chief.page.get_by_text("Release", exact=True).click()
        await chief.page.get_by_role("button", name="It is harmless: release it").click()
        await expect(chief.page.get_by_text("released", exact=False).first).to_be_visible()
        await served.finished(str(job_id))
        await chief.context.close()
        await owner.context.close()
        assert owner.complaints + chief.complaints == []
    finally:
        await clamd.kill()


STAFF = {"Overview", "Metrics", "Dead letters", "Workers", "Webhooks", "Access"}


@pytest.mark.parametrize(
    ("role", "tabs", "acts"),
    [
        (Role.VIEWER, STAFF, False),
        (Role.OPERATOR, STAFF, True),
        (Role.ADMIN, STAFF | {"Audit log", "Settings"}, True),
    ],
)
async def test_a_role_sees_what_it_may_use(
    serve: Serve, browser: Browser, role: Role, tabs: set[str], acts: bool
) -> None:
    served = await serve()
    await failed(served, name="a.txt")
    person = await signed_in(served, browser, role=role)
    await person.page.goto(f"{served.url}/dashboard/dead-letters")
    names = await person.page.get_by_role("navigation", name="Dashboard").get_by_role("link").all()
    assert {await name.inner_text() for name in names} == tabs
    buttons = person.page.get_by_role("button", name="Retry", exact=True)
    assert bool(await buttons.count()) is acts
    await person.context.close()
    assert person.complaints == []


async def test_a_user_has_no_dashboard_and_is_told_so(serve: Serve, browser: Browser) -> None:
    served = await serve()
    person = await signed_in(served, browser)
    await expect(person.page.get_by_role("link", name="Dashboard")).to_have_count(0)
    answer = await person.page.goto(f"{served.url}/dashboard")
    assert answer is not None
    assert answer.status == 403
    await expect(person.page.get_by_role("link", name="Back to the upload page")).to_be_visible()
    await person.page.get_by_role("button", name="Sign out").click()
    await person.page.wait_for_url("**/signin*")
    await person.page.goto(f"{served.url}/")
    assert "/signin" in person.page.url
    await person.context.close()
    person.complaints[:] = [one for one in person.complaints if "403" not in one]
    assert person.complaints == []
