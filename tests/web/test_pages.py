"""The pages and static files, as a browser gets them; what they do in one is tested in
tests/browser."""

from __future__ import annotations

import html
import re
from pathlib import Path

import msgspec
import pytest
from yarl import URL

from appliance.web.assets import folder
from tests.conftest import Serve
from tests.records import a_result
from tests.web.conftest import Join
from tests.web.pages import HTML, Page, links, page
from tests.web.wire import claim, complete, fail, failed, publish, refused, upload

PAGES = (
    "/", "/dashboard", "/dashboard/dead-letters", "/dashboard/jobs/{}", "/dashboard/audit",
    "/dashboard/settings", "/dashboard/workers", "/uploads/{}",
)  # fmt: skip
HOSTILE_NAMES = (
    "<img src=x onerror=alert(1)>.txt",
    '"><script>alert(1)<.txt',
    "' onmouseover='alert(1).txt",
    "{{ 7 * 7 }}{% raw %}.txt",
    "&lt;b&gt;.txt",
    "javascript:alert(1).txt",
    "`${alert(1)}`.txt",
)


@pytest.mark.parametrize("path", [*PAGES, "/signin", "/nowhere"])
async def test_every_page_obeys_a_strict_policy(serve: Serve, path: str) -> None:
    served = await serve()
    job_id = await failed(served)
    await served.json("PUT", "/pauses/type/IMAGE", json={"reason": "tests"})
    async with served.admin.get(path.format(job_id), headers=HTML) as response:
        policy = response.headers["Content-Security-Policy"]
        shown = Page(await response.text())
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    for directive in ("frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert directive in policy
    for header, value in (
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "same-origin"),
        ("Server", "upload-appliance"),
    ):
        assert response.headers[header] == value
    # What the policy would block must not be there.
    for tag, attributes in shown.elements:
        assert "style" not in attributes, (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        if tag == "script":
            assert (attributes["src"] or "").startswith("/static/")
        assert tag != "style"


@pytest.mark.parametrize("path", ["/", "/dashboard", "/dashboard/dead-letters"])
async def test_hostile_names_are_words_on_a_page(serve: Serve, path: str) -> None:
    served = await serve()
    before = await page(served, path)
    for name in HOSTILE_NAMES:
        await failed(served, name=name)
    names = [job["filename"] for job in (await served.json("GET", "/jobs"))["jobs"]]
    shown = await page(served, path)
    titles = {attributes.get("title") for _, attributes in shown.elements}
    for name in names:
        assert name in titles
    for tag in ("script", "iframe", "object", "base"):
        assert len(shown.named(tag)) == len(before.named(tag))
    for tag, attributes in shown.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        link = attributes.get("href") or attributes.get("src") or "/"
        assert not link.startswith("javascript:")
    assert "49" not in [name for name in titles if name and "raw" in name]


async def test_hostile_queries_are_words_on_a_page(serve: Serve) -> None:
    served = await serve()
    evil = '"><script>alert(1)</script>'
    job_id = await failed(served)
    for path in (*(path.format(job_id) for path in PAGES), "/signin", "/nowhere"):
        for name in ("q", "next", "token", "cursor", "status", "owner", "code", "fragment", "x"):
            async with served.admin.get(path, params={name: evil}, headers=HTML) as response:
                text = await response.text()
            assert response.status < 500
            assert "<script>alert" not in text, (path, name)


async def test_the_upload_page_shows_the_users_own_files_only(serve: Serve, join: Join) -> None:
    served = await serve(max_upload_bytes="3MB")
    ada = await join(served)
    await upload(served, name="admins.txt")
    await upload(served, name="adas.txt", by=ada.http)
    mine = await page(served, "/")
    assert {"admins.txt"} == {
        attributes["title"]
        for attributes in mine.named("h3") + mine.named("span") + mine.named("bdi")
        if (attributes.get("title") or "").endswith(".txt")
    }
    (form,) = [form for form in mine.named("form") if form.get("action") == "/upload"]
    assert (form["method"], form["enctype"]) == ("post", "multipart/form-data")
    assert form["data-max-bytes"] == "3000000"
    (chooser,) = [one for one in mine.named("input") if one.get("name") == "file"]
    assert ".jpg" in (chooser["accept"] or "")
    assert "multiple" in chooser


async def test_the_presets_are_there_to_choose(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets/a-small.toml").write_text('version = 2\ndescription = "<Small>"\n')
    served = await serve(presets_dir=str(tmp_path / "presets"))
    shown = await page(served, "/")
    assert shown.named("select")[0]["name"] == "preset"
    options = {
        option["value"]: option["title"] for option in shown.named("option") if "title" in option
    }
    assert list(options)[:2] == ["", "a-small"]  # what is chosen at first is the server's default
    assert options["a-small"] == "<Small>"
    assert "thumbnail" in options


def opened(shown: Page) -> list[str | None]:
    """What the cards' pictures lead to."""
    return [a["href"] for a in shown.named("a") if a.get("class") == "picture" and "href" in a]


async def test_a_card_shows_what_is_there_while_the_work_goes_on(serve: Serve) -> None:
    served = await serve()
    job_id = (await upload(served))["jobId"]
    await claim(served, job_id)
    assert opened(await page(served, "/")) == []
    await publish(served, job_id)
    shown = await page(served, "/")
    url = f"/jobs/{job_id}/files/thumbnail.webp"
    assert url in [image.get("src") for image in shown.named("img")]
    assert opened(shown) == [url]
    await fail(served, job_id)
    shown = await page(served, "/")
    assert opened(shown) == []
    assert url not in [image.get("src") for image in shown.named("img")]


@pytest.mark.parametrize("content_type", ["image/webp", "text/plain"])
async def test_a_card_holds_many_files_or_none_that_is_a_picture(
    serve: Serve, content_type: str
) -> None:
    served = await serve()
    job_id = (await upload(served))["jobId"]
    await claim(served, job_id)
    files = [
        msgspec.structs.replace(a_result(job_id, 1, f"page-{number}"), content_type=content_type)
        for number in range(1, 31)
    ]
    await complete(served, job_id, files=files)
    shown = await page(served, "/")
    assert set(links(shown, f"/jobs/{job_id}/files/page-")) == {
        f"/jobs/{job_id}/files/{file.name}" for file in files
    }
    assert "30 files" in shown.words()
    menus = [one.keys() for one in shown.named("details") if one.get("class") == "files"]
    assert {"class"} in menus  # there, and closed
    pictures = [image["src"] for image in shown.named("img") if "src" in image]
    expected = [f"/jobs/{job_id}/files/page-1"] if content_type == "image/webp" else []
    assert [url for url in pictures if (url or "").startswith("/jobs")] == expected


async def test_older_uploads_are_a_page_further(serve: Serve) -> None:
    served = await serve()
    for number in range(51):
        await upload(served, name=f"{number:02}.txt")
    seen: set[str] = set()
    path: str | None = "/"
    while path is not None:
        shown = await page(served, path)
        names = {a["title"] for _, a in shown.elements if (a.get("title") or "").endswith(".txt")}
        assert not names & seen
        seen |= {name for name in names if name}
        older = [a["href"] for a in shown.named("a") if "cursor=" in (a.get("href") or "")]
        path = older[0] if older else None
    assert len(seen) == 51


async def test_a_refusal_to_a_browser_is_a_page(serve: Serve) -> None:
    served = await serve()
    shown = await page(served, "/jobs/nothing", status=404)
    assert "no such job" in shown.text
    async with served.anonymous.get("/", headers=HTML, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/signin?next=/")


async def test_the_dashboards_panels_alone(serve: Serve) -> None:
    served = await serve()
    await upload(served, name="seen.txt")
    shown = await page(served, "/dashboard?fragment=panels&fresh=1")
    assert not shown.named("html")
    assert "seen.txt" in html.unescape(shown.text)
    assert "seen.txt" not in (await page(served, "/dashboard?fragment=panels&q=other")).text


# --- static files ----------------------------------------------------------------------------


async def test_everything_that_the_pages_name_is_there(serve: Serve) -> None:
    served = await serve()
    named: set[str] = set()
    job_id = await failed(served)
    for path in (*PAGES, "/signin"):
        shown = await page(served, path.format(job_id))
        named |= {
            value
            for _, attributes in shown.elements
            for value in attributes.values()
            if value and value.startswith("/static/")
        }
    assert len(named) > 8
    kinds = {
        "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "png": "image/png"
    }  # fmt: skip
    for address in named:
        plain = address.partition("#")[0]
        async with served.anonymous.get(plain) as response:
            assert response.status == 200, address
            assert response.content_type == kinds[plain.partition("?")[0].rpartition(".")[2]]
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert ("immutable" in response.headers["Cache-Control"]) == ("?v=" in address)


async def test_static_files_by_name(serve: Serve) -> None:
    served = await serve()
    for path in folder("static").iterdir():
        async with served.anonymous.get(f"/static/{path.name}") as response:
            assert await response.read() == path.read_bytes()
            assert response.headers["Cache-Control"] == "no-cache"
            etag = response.headers["ETag"]
        known = {"If-None-Match": etag}
        async with served.anonymous.get(f"/static/{path.name}", headers=known) as response:
            assert response.status == 304


async def test_nothing_else_is_static(serve: Serve) -> None:
    served = await serve()
    for name in (
        "nothing.js", "..%2Fpyproject.toml", "%2e%2e%2fREADME.md", "..", ".", "base.css%00",
        "base.css%2F", "%2Fetc%2Fpasswd", "BASE.CSS", "base", ".hidden", "a" * 5000 + ".js",
    ):  # fmt: skip
        address = URL(f"{served.url}/static/{name}", encoded=True)
        async with served.anonymous.get(address) as response:
            await refused(response, 404, "not_found")
    for address in ("/static/", "/static", "/static/js/base.js", "/.git/config", "/data/lock"):
        async with served.anonymous.get(address) as response:
            await refused(response, 404, "not_found")


async def test_no_module_or_style_names_another_site() -> None:
    """The policy would block it, and a server in a closed network would miss it."""
    for path in (path for path in folder("static").iterdir() if path.suffix != ".png"):
        text = path.read_text(encoding="utf-8")
        for address in re.findall(r"https?://[^\s\"'`)]+", text):
            assert address.startswith("http://www.w3.org/"), (path.name, address)
