"""The upload page as an app: its manifest, its icons, and what a phone shares with it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from tests import media
from tests.conftest import ADMIN_KEY, Serve, Served
from tests.web.browser import signed_in
from tests.web.pages import HTML
from tests.web.wire import END, FORM_TYPE, file_part, form, refused

FROM_THE_SYSTEM = {"Origin": "null", "Sec-Fetch-Site": "none"}
"""What Chromium sends when somebody shares with the app: there is no page behind it."""


async def manifest(served: Served) -> Any:
    async with served.anonymous.get("/manifest.webmanifest") as response:
        assert response.status == 200
        assert response.content_type == "application/manifest+json"
        return await response.json(content_type=None)


async def test_it_can_be_installed(serve: Serve) -> None:
    served = await serve()
    document = await manifest(served)
    assert document["start_url"] == document["scope"] == document["id"] == "/"
    assert document["display"] == "standalone"
    kinds = set()
    for icon in document["icons"]:
        async with served.anonymous.get(icon["src"]) as response:
            assert response.content_type == icon["type"] == "image/png"
            with Image.open(io.BytesIO(await response.read())) as picture:
                assert icon["sizes"] == f"{picture.width}x{picture.height}"
                kinds.add((picture.width, icon["purpose"]))
                if icon["purpose"] == "maskable":  # it may be cut to any shape
                    assert picture.convert("RGBA").getextrema()[3] == (255, 255)
    assert kinds == {(192, "any"), (512, "any"), (512, "maskable")}
    async with served.anonymous.get("/signin", headers=HTML) as response:
        text = await response.text()
    assert '<link rel="manifest" href="/manifest.webmanifest">' in text
    assert f'content="{document["theme_color"]}" media="(prefers-color-scheme: light)"' in text


async def test_it_takes_what_the_server_takes(serve: Serve) -> None:
    served = await serve(allowed_types="image/*,application/pdf")
    target = (await manifest(served))["share_target"]
    assert (target["action"], target["method"]) == ("/share", "POST")
    (files,) = target["params"]["files"]
    assert files == {"name": "file", "accept": ["image/*", "application/pdf"]}


@pytest.mark.parametrize("origin", [FROM_THE_SYSTEM, {}], ids=["of the system", "as of a page"])
async def test_what_is_shared_is_there_at_once(serve: Serve, origin: dict[str, str]) -> None:
    served = await serve()
    browser = await signed_in(served)
    data = form(file_part("cat.jpg", media.jpeg(64, 48)), file_part("dog.jpg", media.jpeg(64, 48)))
    headers = {**browser.headers, **origin, "Content-Type": FORM_TYPE}
    async with served.anonymous.post(
        "/share", data=data, headers=headers, allow_redirects=False
    ) as response:
        assert (response.status, response.headers["Location"]) == (303, "/")
    async with served.anonymous.get("/", headers=browser.headers) as response:
        text = await response.text()
    assert "cat.jpg" in text
    assert "dog.jpg" in text


async def test_of_the_system_only_there(serve: Serve) -> None:
    """`none` is the user's own doing, which no page can have sent; still it is good for files
    alone."""
    served = await serve()
    browser = await signed_in(served)
    headers = {**browser.headers, **FROM_THE_SYSTEM, "Accept": "*/*"}
    for path in ("/upload?filename=a.txt", "/signout", "/jobs/delete"):
        async with served.anonymous.post(path, data=b"words", headers=headers) as response:
            await refused(response, 403, "forbidden")
    for site in ("cross-site", "same-site", "same-origin"):
        foreign = {**headers, "Sec-Fetch-Site": site, "Content-Type": FORM_TYPE}
        data = form(file_part("a.txt", b"words"))
        async with served.anonymous.post("/share", data=data, headers=foreign) as response:
            await refused(response, 403, "forbidden")


async def test_who_is_not_signed_in_is_told_that_nothing_was_kept(serve: Serve) -> None:
    served = await serve()
    headers = {**HTML, **FROM_THE_SYSTEM, "Content-Type": FORM_TYPE}
    data = form(file_part("a.txt", b"words"))
    async with served.anonymous.post(
        "/share", data=data, headers=headers, allow_redirects=False
    ) as response:
        assert response.status == 303
        location = response.headers["Location"]
    assert location == "/signin?next=/&unsent=files"
    async with served.anonymous.get(location, headers=HTML) as response:
        assert "share them once more" in await response.text()
    assert (await served.json("GET", "/jobs"))["jobs"] == []


@pytest.mark.parametrize(
    ("kind", "data"), [(FORM_TYPE, END), ("application/x-www-form-urlencoded", b"title=a")]
)
async def test_without_a_file_it_says_so(serve: Serve, kind: str, data: bytes) -> None:
    served = await serve()
    headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": kind}
    async with served.anonymous.post("/share", data=data, headers=headers) as response:
        await refused(response, 400, "no_file")
