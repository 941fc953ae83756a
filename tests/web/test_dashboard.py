"""The dashboard's words: what needs a hand, what holds the pools up, what can be done."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from appliance.database import stored_files, workers
from appliance.database.workers import About, Kind, Outage, PoolState, ProcessorState
from appliance.jobs import JobType
from tests import databases
from tests.conftest import Serve, Served
from tests.web.conftest import Join
from tests.web.pages import Page, links, page
from tests.web.wire import claim, failed, services_of, upload


async def sentence_of(served: Served) -> str:
    words = (await page(served, "/dashboard?fragment=panels&fresh=1")).words()
    return words.partition(" System health")[0]


async def beat(served: Served, *pools: PoolState) -> None:
    shared = services_of(served)
    await shared.database.write(
        workers.beat("w", node="n", running={}, now=shared.clock.now(), pools=pools)
    )


def cell(shown: Page, job_type: JobType) -> str:
    """The words of one pool."""
    titles = {"IMAGE": "Images", "PDF": "PDFs", "VIDEO": "Videos", "ANY": "Other files"}
    panels = shown.words().partition(" System health ")[2].partition(" Metrics ")[2]
    panel = panels.partition(" Workers ")[2].rpartition("Recent jobs")[0]
    at = sorted(panel.index(f"{title} ") for title in titles.values())
    begin = panel.index(f"{titles[job_type]} ")
    return panel[begin : next((one for one in at if one > begin), len(panel))]


async def test_all_is_well(serve: Serve) -> None:
    served = await serve()
    assert await sentence_of(served) == "Everything is all right."


async def test_the_first_sentence_names_what_needs_a_hand(serve: Serve) -> None:
    served = await serve()
    now = services_of(served).clock.now()
    await failed(served)
    assert await sentence_of(served) == "1 job waits for review."
    await failed(served)
    job = await upload(served)
    shared = services_of(served)
    await shared.database.write(stored_files.mark(missing=[job["jobId"]], found=[], now=now))
    await served.json("PUT", "/pauses/type/VIDEO", json={"reason": "Codec <b>update</b>"})
    full = Outage("storage_full", "The disk is nearly full.", now - 600)
    await beat(served, PoolState(JobType.PDF, 1, 4, 1, True, outage=full))
    shown = await page(served, "/dashboard")
    words = shown.words()
    assert (
        "PDFs are held up, 1 stored file is missing, 2 jobs wait for review and videos are paused."
        in words
    )
    assert "PDFs are held up since 10 min ago: The disk is nearly full." in words
    assert "Videos are paused by APPLIANCE_ADMIN_KEY until resumed: Codec <b>update</b>" in words
    assert "/dashboard/dead-letters" in links(shown, "/dashboard/dead-letters")
    there = {attributes.get("id") for _, attributes in shown.elements}
    assert {link[1:] for link in links(shown, "#")} <= there
    await served.json("PUT", f"/pauses/owner/{job['owner']}", json={"reason": "Floods"})
    assert "videos are paused and 1 more thing." in await sentence_of(served)


async def test_pools_say_why_they_are_as_they_are(serve: Serve) -> None:
    served = await serve()
    now = services_of(served).clock.now()
    await served.json("PUT", "/pauses/type/PDF", json={"reason": "Holiday", "forS": 7200})
    down = Outage("nursery_unavailable", "It does not come up.", now - 7200)
    await beat(
        served,
        PoolState(JobType.IMAGE, 1, 4, 3, True, "up to 3: 31 queued", now - 60),
        PoolState(JobType.PDF, 2, 2, 2, True),
        PoolState(JobType.VIDEO, 1, 2, 1, False, outage=down),
    )
    shown = await page(served, "/dashboard")
    assert "0 of 3 busy, from 1 to 4" in cell(shown, JobType.IMAGE)
    assert "Up to 3: 31 queued. 1 min ago" in cell(shown, JobType.IMAGE)
    assert "0 of 2 busy, always 2" in cell(shown, JobType.PDF)
    assert "just now, for another 2 h: Holiday" in cell(shown, JobType.PDF)
    assert "Since 2 h ago: It does not come up." in cell(shown, JobType.VIDEO)
    assert "No process takes these." in cell(shown, JobType.ANY)
    pausable = {form.fields["name"] for form in shown.posting("/pauses")}
    assert pausable == {"IMAGE", "VIDEO", "ANY"}
    (resume,) = shown.posting("/pauses/end")
    assert dict(resume.fields) == {"kind": "type", "name": "PDF", "next": "/dashboard"}


async def test_a_job_s_row_has_the_buttons_that_make_sense(serve: Serve) -> None:
    served = await serve()
    waiting, running = [(await upload(served))["jobId"] for _ in range(2)]
    await claim(served, running)
    lost = await failed(served)
    shown = await page(served, "/dashboard?type=any")
    actions = {form.action for form in shown.acts() if form.action.startswith("/jobs/")}
    assert actions == {
        f"/jobs/{waiting}/cancel", f"/jobs/{running}/cancel", f"/jobs/{lost}/retry",
    }  # fmt: skip
    assert {form.fields["next"] for form in shown.acts()} == {"/dashboard?type=any"}
    fragment = await page(served, "/dashboard?fragment=panels&type=any")
    assert {form.fields["next"] for form in fragment.acts()} == {"/dashboard?type=any"}


# --- system health -------------------------------------------------------------------------


def tile(shown: Page, name: str) -> str:
    """What a tile tells on hover."""
    (found,) = [a for a in shown.named("li") if a.get("data-key") == f"tile-{name}"]
    return found.get("title") or ""


def says(shown: Page, text: str) -> bool:
    """Whether the page says it, whatever is between the words: elements are, too."""
    return "".join(text.split()) in "".join(shown.text.split())


async def test_servers_are_counted_that_live_and_that_are_known(serve: Serve) -> None:
    served = await serve()
    shared = services_of(served)
    now = shared.clock.now()
    assert says(await page(served, "/dashboard"), "API OK 1/1 version")
    for name, kind, version in (
        ("kitchen", Kind.API, "0.0.1"), ("cellar", Kind.BOTH, "0.0.2"), ("attic", Kind.WORKER, "1"),
    ):  # fmt: skip
        about = About(kind, name, 7, version)
        await shared.database.write(
            workers.beat(name, node=name, about=about, running={}, now=now - 90)
        )
    shown = await page(served, "/dashboard")
    assert says(shown, "API OK 3/3")  # the attic serves nothing
    assert "kitchen (process 7, version 0.0.1)" in tile(shown, "API")
    known = await shared.database.read(workers.servers())
    lost = [one for one in known if one.id == "cellar"]
    await shared.database.write(workers.mark_gone(lost, now=now))
    shown = await page(served, "/dashboard")
    assert says(shown, "API 1 gone 2/3 cellar is gone")
    assert "cellar (process 7, version 0.0.2, gone)" in tile(shown, "API")
    sentence = await sentence_of(served)
    assert sentence.startswith("1 server is gone.")
    assert "since 1 min ago: No heartbeat of cellar (process 7)." in sentence


async def test_the_database_s_size_and_last_check(serve: Serve) -> None:
    served = await serve()
    shared = services_of(served)
    await shared.database.check(now=shared.clock.now() - 7200)
    shown = "".join((await page(served, "/dashboard")).text.split())
    size = r"[\d.]+(?:KB|MB|bytes)"
    log = "" if databases.ON_POSTGRES else f"log{size},"
    assert re.search(f"DatabaseOK{size}{log}lookedthrough2hago", shown)


async def test_what_stands_still_is_told_with_its_reason(serve: Serve) -> None:
    served = await serve()
    now = services_of(served).clock.now()
    assert says(await page(served, "/dashboard"), "Paused Nothing 0 all work goes on")
    await served.json("PUT", "/pauses/type/VIDEO", json={"reason": "Holiday"})
    assert says(await page(served, "/dashboard"), "Paused By people 1 Videos: Holiday")
    full = Outage("storage_full", "The disk is nearly full.", now - 600)
    await beat(served, PoolState(JobType.PDF, 1, 4, 1, True, outage=full))
    shown = await page(served, "/dashboard")
    assert says(shown, "Paused Held up 2 PDFs: The disk is nearly full, and 1 more")
    assert tile(shown, "Paused") == "PDFs: The disk is nearly full. Videos: Holiday."


async def test_workers_are_told_by_type(serve: Serve) -> None:
    served = await serve()
    job = await upload(served)
    await claim(served, job["jobId"])
    await beat(served, PoolState(JobType.ANY, 1, 4, 2, True), PoolState(JobType.PDF, 1, 2, 1, True))
    shown = await page(served, "/dashboard")
    assert says(shown, "Workers OK 1 of 6 1 of 6 at work")
    assert tile(shown, "Workers") == "PDFs 0 of 2, other files 1 of 4"


# --- the list of jobs ----------------------------------------------------------------------


async def test_jobs_are_found_by_time_and_by_owner(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    await upload(served, name="of-ada.txt", by=ada.http)
    await upload(served, name="mine.txt")
    shown = await page(served, "/dashboard?since=1h")
    assert {"of-ada.txt", "mine.txt"} <= set(re.findall(r"[\w-]+\.txt", shown.words()))
    (link,) = links(shown, f"/dashboard?owner={quote(ada.key.owner, safe='')}")
    of_ada = await page(served, link)
    assert set(re.findall(r"[\w-]+\.txt", of_ada.words())) == {"of-ada.txt"}
    assert "Only jobs of somebody." in of_ada.words()
    (filters,) = [form for form in of_ada.forms if form.action == "/dashboard"]
    assert filters.fields["owner"] == ada.key.owner  # kept when something else is chosen
    assert "since" in filters.fields
    assert "No job matches." in (await page(served, "/dashboard?until=2020-01-01")).words()
    chosen = (await page(served, "/dashboard?since=2020-01-01")).named("option")
    assert {"value": "2020-01-01", "selected": None} in chosen


# --- the audit log -------------------------------------------------------------------------


async def test_acts_are_a_page_each_twenty(serve: Serve) -> None:
    served = await serve()
    assert "Nothing was done yet." in (await page(served, "/dashboard/audit")).words()
    for _ in range(11):
        await served.json("PUT", "/pauses/type/ANY", json={"reason": "tests", "forS": 3600})
        async with served.admin.delete("/pauses/type/ANY") as response:
            assert response.status == 204
    job_id = await failed(served)
    await served.json("POST", "/dead-letters/retry", json={"ids": [job_id], "staged": True})
    shown = await page(served, "/dashboard/audit")
    words = shown.words()
    assert "Tried dead letters again 1 chosen job in waves 1 job APPLIANCE_ADMIN_KEY" in words
    assert "Paused Other files for 1 h: “tests”" in words
    assert f"/dashboard/jobs/{job_id}" in links(shown, "/dashboard/jobs/")
    (earlier,) = links(shown, "/dashboard/audit?cursor=")
    rest = await page(served, earlier)
    assert words.count("Other files") + rest.words().count("Other files") == 22
    assert links(rest, "/dashboard/audit?cursor=") == [earlier]  # to load it anew, no further
    await page(served, "/dashboard/audit?cursor=x", status=400)


HOLDING = {"limits": "", "landlock": "", "seccomp": "", "network": "not allowed"}


@pytest.mark.parametrize(
    ("layers", "ok", "word"),
    [(HOLDING, True, "Closed"), (HOLDING | {"landlock": "Linux is too old"}, False, "Open")],
)
async def test_the_walls_are_told(
    serve: Serve, layers: dict[str, str], ok: bool, word: str
) -> None:
    served = await serve()
    whole = ProcessorState("image", "1", (), ready=True, layers=dict.fromkeys(layers, ""))
    some = ProcessorState("any", "1", ("*/*",), ready=True, layers=layers)
    await beat(
        served,
        PoolState(JobType.IMAGE, 1, 2, 1, True, processors=(whole,)),
        PoolState(JobType.ANY, 1, 2, 1, True, processors=(some,)),
    )
    words = (await page(served, "/dashboard")).words()
    assert word in words
    assert ("without landlock, network" in words) is not ok
    part = (await served.json("GET", "/readyz"))["parts"]["sandbox"]
    assert part["ok"] is ok
    assert "network: not allowed." in part["detail"]
    async with served.admin.get("/metrics") as response:
        text = await response.text()
    assert f'appliance_sandbox_layer{{layer="landlock"}} {float(ok)}' in text
    assert 'appliance_sandbox_layer{layer="seccomp"} 1.0' in text


async def test_a_plug_in_that_is_not_used_is_named(serve: Serve) -> None:
    served = await serve()
    broken = ProcessorState("ocr", None, (), ready=False, fault="The ocr nursery did not get ready")
    good = ProcessorState("any", "1", ("*/*",), ready=True)
    await beat(served, PoolState(JobType.ANY, 1, 2, 1, True, processors=(good, broken)))
    words = (await page(served, "/dashboard")).words()
    assert "Without a plug-in" in words
    assert "The ocr nursery did not get ready" in words
    found = (await served.json("GET", "/readyz"))["parts"]["processors"]
    assert found == {"ok": False, "detail": "The ocr nursery did not get ready", "needed": False}
