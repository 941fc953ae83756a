"""The pages for the review of dead letters: what they show, and that their forms are understood."""

from __future__ import annotations

import pytest

from appliance.database.dead_letters import Filter
from appliance.permissions import Role
from tests.conftest import Serve, Served
from tests.web.browser import signed_in
from tests.web.conftest import Join
from tests.web.pages import HTML, Page, links, page
from tests.web.wire import claim, complete, fail, failed, services_of, upload

LETTERS = "/dashboard/dead-letters"
JOBS = "/dashboard/jobs"


async def fingerprint_of(served: Served, job_id: str) -> str:
    letter = await served.json("GET", f"/dead-letters/{job_id}")
    return str(letter["fingerprint"])


# --- who may -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", [LETTERS, f"{JOBS}/{{}}", "/dashboard/audit"])
async def test_only_an_admin_sees_them(serve: Serve, join: Join, path: str) -> None:
    served = await serve()
    path = path.format(await failed(served))
    ada, second = await join(served), await join(served, Role.ADMIN)
    async with served.anonymous.get(path, headers=HTML, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, f"/signin?next={path}")
    async with ada.http.get(path, headers=HTML) as response:
        assert response.status == 403
        assert "/dashboard" not in {a.get("href") for a in Page(await response.text()).named("a")}
    async with second.http.get(path, headers=HTML) as response:
        assert response.status == 200


# --- all of them -------------------------------------------------------------------------


async def test_what_runs_is_shown_however_long_ago_it_began(serve: Serve) -> None:
    served = await serve()
    ids = [await failed(served, name=f"{n}.txt") for n in range(8)]
    acts = services_of(served).acts
    everything = await acts.retry_dead_letters(Filter(), actor="shell:root", staged=True)
    for job_id in ids[2:]:
        redrive = await acts.retry_dead_letters(Filter(ids=(job_id,)), actor="shell:root")
        await claim(served, job_id)
        await complete(served, job_id, attempt=2)
        await acts.advance(redrive.id)
    shown = await page(served, LETTERS)
    assert "Wave 1: 0 of 1 done" in shown.words()
    keys = [attributes.get("data-key") or "" for _, attributes in shown.elements]
    assert [key for key in keys if key.startswith("redrive-")][-1] == f"redrive-{everything.id}"


async def test_with_nothing_to_review(serve: Serve) -> None:
    shown = await page(await serve(), LETTERS)
    assert "Nothing waits for review." in shown.words()
    assert not list(shown.acts())
    assert not shown.named("table")


async def test_the_largest_group_comes_first(serve: Serve) -> None:
    served = await serve()
    lone = await failed(served, name="lone.txt", code="corrupt_file", message="Broken.")
    many = [await failed(served, name=f"{n}.txt", step=f"page {n}") for n in range(12)]
    shown = await page(served, LETTERS)
    words = shown.words()
    assert "13 jobs wait for review." in words
    assert words.index("ended unexpectedly") < words.index("The file is damaged")
    alike = await fingerprint_of(served, many[0])
    groups = links(shown, f"{LETTERS}?fingerprint=")
    assert groups == [
        f"{LETTERS}?fingerprint={alike}",
        f"{LETTERS}?fingerprint={await fingerprint_of(served, lone)}",
    ]
    larger, smaller, everything, *_ = shown.posting("/dead-letters/retry")
    assert larger.words == ["Retry 1", "Retry 10", "Retry all 12", "Retry in waves"]
    once = larger.fields["once"]
    assert dict(larger.sent_by("Retry 10")) == {
        "fingerprint": alike, "once": once, "next": LETTERS, "limit": "10",
    }  # fmt: skip
    assert dict(larger.sent_by("Retry in waves"))["staged"] == "1"
    assert "limit" not in larger.sent_by("Retry all 12")
    assert smaller.words == ["Retry"]
    assert dict(everything.fields) == {"all": "1", "once": once, "next": LETTERS}
    assert everything.words == ["Retry all 13", "Retry in waves"]
    # The newest is the example, and leads to its own page.
    assert f"{JOBS}/{many[-1]}" in links(shown, f"{JOBS}/")


async def test_one_group_with_its_jobs(serve: Serve) -> None:
    served = await serve()
    first = await failed(served, name="one.txt")
    await failed(served, name="other.txt", code="corrupt_file")
    path = f"{LETTERS}?fingerprint={await fingerprint_of(served, first)}"
    shown = await page(served, path)
    assert "one.txt" in shown.text
    assert "other.txt" not in shown.text
    assert {form.fields["next"] for form in shown.acts()} == {path}
    gone = await page(served, f"{LETTERS}?fingerprint=0123456789abcdef")
    assert "Nothing of this group waits any more." in gone.words()


async def test_filters_are_in_the_address(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    await failed(served, by=ada.http, name="hers.txt")
    await failed(served, name="mine.txt", code="corrupt_file")
    for query, seen, unseen in (
        (f"owner={ada.key.owner}", "hers.txt", "mine.txt"),
        ("code=corrupt_file", "mine.txt", "hers.txt"),
        ("type=any&code=child_crashed", "hers.txt", "mine.txt"),
    ):
        table = (await page(served, f"{LETTERS}?{query}")).text.partition("Job by job")[2]
        assert seen in table
        assert unseen not in table
    shown = await page(served, f"{LETTERS}?owner={ada.key.owner}")
    *_, bulk, _ = shown.posting("/dead-letters/retry")
    assert bulk.fields["owner"] == ada.key.owner  # the button takes what is shown, no more
    assert "all" not in bulk.fields
    assert ada.key.name in shown.text
    for query in ("type=nothing", "fingerprint=x", "cursor=x"):
        await page(served, f"{LETTERS}?{query}", status=400)
    assert "No dead letter matches." in (await page(served, f"{LETTERS}?owner=key:x")).words()


async def test_every_letter_is_on_one_page(serve: Serve) -> None:
    served = await serve()
    ids = {await failed(served, name=f"{n}.txt") for n in range(51)}
    seen: list[str] = []
    path = f"{LETTERS}?code=child_crashed"
    while path:
        shown = await page(served, path)
        seen += [one["value"] or "" for one in shown.named("input") if one.get("name") == "ids"
                 and one.get("type") == "checkbox"]  # fmt: skip
        older = [link for link in links(shown, "?") if "cursor=" in link]
        assert not older or "code=child_crashed" in older[0]
        path = f"{LETTERS}{older[0]}" if older else ""
    assert sorted(seen) == sorted(ids)


async def test_what_is_tried_again_and_how_it_went(serve: Serve) -> None:
    served = await serve()
    ids = [await failed(served, name=f"{n}.txt") for n in range(3)]
    group = Filter(fingerprint=await fingerprint_of(served, ids[0]))
    acts = services_of(served).acts
    redrive = await acts.retry_dead_letters(group, actor="shell:root", staged=True)
    shown = await page(served, LETTERS)
    assert "Wave 1: 0 of 1 done, none failed again. 2 more when this goes well" in shown.words()
    assert "root, in a shell" in shown.words()
    # While they run, the next try is not offered.
    retries = shown.posting("/dead-letters/retry")
    assert group.fingerprint not in {form.fields.get("fingerprint") for form in retries}
    await claim(served, ids[0])
    await fail(served, ids[0], attempt=2)
    await acts.advance(redrive.id)
    shown = await page(served, LETTERS)
    assert "Stopped by itself: 1 of 1 failed again; 2 were not begun." in shown.words()
    retries = shown.posting("/dead-letters/retry")
    assert group.fingerprint in {form.fields.get("fingerprint") for form in retries}


# --- one of them -------------------------------------------------------------------------


async def test_one_with_all_that_is_known(serve: Serve) -> None:
    served = await serve()
    job_id = await failed(served, name="cat.txt", message="It broke at <b>.", step="page 3")
    await failed(served, step="page 7")
    shown = await page(served, f"{JOBS}/{job_id}")
    words = shown.words()
    for told in (
        "cat.txt", "waits for review", "It broke at <b>.", "page 3", "child_crashed",
        "ChildCrashed", await fingerprint_of(served, job_id), "1 other failed like this",
        "Attempt 1", "Segmentation fault", "received",
    ):  # fmt: skip
        assert told in words, told
    assert f"{LETTERS}?fingerprint={await fingerprint_of(served, job_id)}" in links(shown, LETTERS)
    (delete,) = shown.posting(f"/jobs/{job_id}/delete")
    assert delete.fields["next"] == LETTERS  # its own page is gone by then


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        ("PENDING", {"cancel"}),
        ("PROCESSING", {"cancel"}),
        ("COMPLETED", {"delete"}),
        ("FAILED", {"retry", "delete", "discard"}),
        ("discarded", {"retry", "delete"}),
        ("CANCELLED", {"retry", "delete"}),
    ],
)
async def test_the_buttons_that_make_sense_and_no_others(
    serve: Serve, state: str, offered: set[str]
) -> None:
    served = await serve()
    job_id = (await upload(served))["jobId"]
    if state in ("PROCESSING", "COMPLETED", "FAILED", "discarded"):
        await claim(served, job_id)
    if state == "COMPLETED":
        await complete(served, job_id)
    elif state in ("FAILED", "discarded"):
        await fail(served, job_id)
    if state == "CANCELLED":
        await served.json("POST", f"/jobs/{job_id}/cancel")
    elif state == "discarded":
        await served.json("POST", "/dead-letters/discard", json={"ids": [job_id]})
    shown = await page(served, f"{JOBS}/{job_id}")
    actions = {form.action.rpartition("/")[2] for form in shown.acts()}
    assert actions == offered | {"pauses", "process", "links", "pin"}


async def test_a_job_that_is_not_there(serve: Serve) -> None:
    served = await serve()
    for job_id in ("01M85F1MKT1XZEV6WT98GJ23JH", "nothing", "%00"):
        shown = await page(served, f"{JOBS}/{job_id}", status=404)
        assert "no such job" in shown.text


async def test_what_a_child_wrote_is_made_harmless(serve: Serve) -> None:
    served = await serve()
    evil = "\x1b[31m</code><script>alert(1)</script>\u202egpj.exe\x00\x07"
    job_id = await failed(served, message=evil, step=evil)
    for path in (LETTERS, f"{JOBS}/{job_id}", "/dashboard"):
        async with served.admin.get(path, headers=HTML) as response:
            text = await response.text()
        assert "<script>alert" not in text
        assert not set("\x00\x07\x1b\u202e") & set(text)
        assert "alert(1)" in Page(text).text


# --- their forms -------------------------------------------------------------------------


async def test_every_form_of_the_pages_is_understood(serve: Serve) -> None:
    """Each button of each page, pressed on a job of its own: it is sent on to where it stood."""
    served = await serve()
    browser = await signed_in(served)
    pressed = set()

    async def press(path: str, action: str, word: str, **typed: str) -> None:
        shown = await page(served, path)
        form = next(f for f in shown.acts() if f.action == action and word in f.words)
        sent = await browser.send(form.action, form.sent_by(word, **typed))
        assert (sent.status, sent.location) == (303, form.fields["next"]), (word, sent.text)
        pressed.add((form.action.replace(job_id, "{}"), word))

    job_id = await failed(served, name="a.txt")
    others = [await failed(served, name=f"{n}.txt") for n in range(20)]
    one = f"{JOBS}/{job_id}"
    retry = "/dead-letters/retry"
    await press("/dashboard", f"/jobs/{job_id}/retry", "Try a.txt again")
    await press("/dashboard", f"/jobs/{job_id}/cancel", "Cancel a.txt")
    await press(one, f"/jobs/{job_id}/process", "Process again", preset="thumbnail")
    await press(one, f"/jobs/{job_id}/retry", "Try again")
    await claim(served, job_id)
    await fail(served, job_id, attempt=2)
    await press(one, "/dead-letters/discard", "Discard")
    await press(one, f"/jobs/{job_id}/delete", "Delete for good")
    await page(served, one, status=404)

    job_id = others[0]
    await press(f"{LETTERS}?code=child_crashed", retry, "Retry 1")
    await press(f"{LETTERS}?owner={await owner_of(served)}", retry, "Retry 10")
    await press(LETTERS, f"/jobs/{others[-1]}/retry", "Try 19.txt again")
    await press(LETTERS, "/dead-letters/discard", "Discard 18.txt")
    left = (await served.json("GET", "/dead-letters"))["matching"]
    assert left == 20 - 1 - 10 - 2
    await press(LETTERS, "/dead-letters/discard", f"Discard {left} jobs")
    assert (await served.json("GET", "/dead-letters"))["matching"] == 0

    await press("/dashboard", "/pauses", "Pause videos", reason="codec update", forS="28800")
    (pause,) = (await served.json("GET", "/pauses"))["pauses"]
    assert (pause["kind"], pause["name"], pause["reason"]) == ("type", "VIDEO", "codec update")
    assert pause["until"] is not None
    await press("/dashboard", "/pauses/end", "Resume")
    await press(f"{JOBS}/{job_id}", "/pauses", "Pause this owner", reason="floods", forS="")
    await press("/dashboard", "/pauses/end", "Resume")
    assert (await served.json("GET", "/pauses"))["pauses"] == []

    shown = (await page(served, "/dashboard/audit")).words()
    for told in ("Paused", "Resumed", "Videos for 8 h: “codec update”", "Discarded dead letters"):
        assert told in shown


async def owner_of(served: Served) -> str:
    (job,) = (await served.json("GET", "/jobs?limit=1"))["jobs"]
    return str(job["owner"])


async def test_a_refused_form_leads_back(serve: Serve) -> None:
    served = await serve()
    browser = await signed_in(served)
    job_id = await failed(served)
    browser.headers["Referer"] = f"{served.url}{LETTERS}?code=child_crashed"
    sent = await browser.send(f"/jobs/{job_id}/cancel", {"next": LETTERS})
    assert sent.status == 409
    assert f"{LETTERS}?code=child_crashed" in links(Page(sent.text), LETTERS)
    for elsewhere in ("https://evil.example/x", "not an address", f"{served.url}//evil.example"):
        browser.headers["Referer"] = elsewhere
        sent = await browser.send(f"/jobs/{job_id}/cancel", {"next": LETTERS})
        assert not [link for link in links(Page(sent.text), "") if "evil" in link], elsewhere


async def test_a_form_that_is_sent_twice_acts_once(serve: Serve) -> None:
    served = await serve()
    browser = await signed_in(served)
    ids = [await failed(served, name=f"{n}.txt") for n in range(3)]
    form = (await page(served, LETTERS)).posting("/dead-letters/retry")[0]
    for _ in range(2):
        assert (await browser.send(form.action, form.sent_by("Retry 1"))).status == 303
    assert (await served.json("GET", "/dead-letters"))["matching"] == 2
    (redrive,) = (await served.json("GET", "/redrives"))["redrives"]
    await claim(served, ids[0])
    await complete(served, ids[0], attempt=2)
    await services_of(served).acts.advance(redrive["redriveId"])
    # The page that is loaded again offers the next one.
    form = (await page(served, LETTERS)).posting("/dead-letters/retry")[0]
    assert (await browser.send(form.action, form.sent_by("Retry 1"))).status == 303
    assert (await served.json("GET", "/dead-letters"))["matching"] == 1

    (again,) = (await page(served, f"{JOBS}/{ids[2]}")).posting(f"/jobs/{ids[2]}/process")
    for preset in ("thumbnail", "thumbnail", "default"):
        sent = await browser.send(again.action, again.sent_by("Process again", preset=preset))
        assert sent.status == 303
    presets = [job["preset"] for job in (await served.json("GET", "/jobs"))["jobs"]]
    assert sorted(presets) == ["default"] * 4 + ["thumbnail"]
