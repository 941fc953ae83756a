"""Several of one's own uploads at once: POST /jobs/delete and POST /jobs/links."""

from __future__ import annotations

import pytest
from multidict import MultiDict

from appliance.ids import new_id
from appliance.web.several import MOST_JOBS
from tests.conftest import Serve, Served
from tests.web.browser import signed_in
from tests.web.conftest import Join
from tests.web.pages import Page
from tests.web.wire import claim, complete, refused, services_of, upload


async def finished(served: Served, *names: str) -> list[str]:
    ids = []
    for name in names:
        ids.append((await upload(served, name=name))["jobId"])
        await claim(served, ids[-1])
        await complete(served, ids[-1])
    return ids


async def left(served: Served) -> set[str]:
    return {job["jobId"] for job in (await served.json("GET", "/jobs"))["jobs"]}


async def test_all_are_deleted_with_their_files(serve: Serve) -> None:
    served = await serve()
    one, two, three = await finished(served, "1.txt", "2.txt", "3.txt")
    answer = await served.json("POST", "/jobs/delete", json={"jobs": [three, one, three]})
    assert answer == {"deleted": [three, one]}
    assert await left(served) == {two}
    assert [path.name for path in (served.data_dir / "files/raw").iterdir()] == [two]


async def test_none_is_deleted_where_one_is_being_worked_on(serve: Serve) -> None:
    served = await serve()
    done = await finished(served, "1.txt")
    waiting = (await upload(served))["jobId"]
    async with served.admin.post("/jobs/delete", json={"jobs": [*done, waiting]}) as response:
        document = await refused(response, 409, "illegal_move")
    assert "1 upload of these 2" in document["detail"]
    assert await left(served) == {*done, waiting}


async def test_a_form_is_asked_first(serve: Serve) -> None:
    served = await serve()
    ids = await finished(served, "<b>1.txt", "2.txt")
    browser = await signed_in(served)
    ticked = MultiDict([*(("job", job_id) for job_id in ids), ("expiresInS", "604800")])
    asked = await browser.send("/jobs/delete", ticked)
    assert asked.status == 200
    assert await left(served) == set(ids)
    question = Page(asked.text)
    assert "Delete 2 uploads?" in question.words()
    assert "<b>" not in asked.text
    (form,) = question.posting("/jobs/delete")
    sure = await browser.send("/jobs/delete", form.sent_by("Delete 2 uploads"))
    assert (sure.status, sure.location) == (303, "/")
    assert await left(served) == set()


async def test_a_link_to_each(serve: Serve) -> None:
    served = await serve()
    ids = [(await upload(served, name.encode(), name))["jobId"] for name in ("1.txt", "2.txt")]
    made = await served.json("POST", "/jobs/links", json={"jobs": ids, "expiresInS": 60})
    assert [link["jobId"] for link in made["links"]] == ids
    browser = await signed_in(served)
    ticked = MultiDict([*(("job", job_id) for job_id in ids), ("expiresInS", "86400")])
    shown = await browser.send("/jobs/links", ticked)
    assert shown.status == 201
    fields = [one for one in Page(shown.text).named("input") if "readonly" in one]
    links = [link["url"] for link in made["links"]] + [one["value"] or "" for one in fields]
    assert len(links) == 4
    for link, name in zip(links, ("1.txt", "2.txt") * 2, strict=True):
        path = link.removeprefix(services_of(served).public_url)
        async with served.anonymous.get(path) as response:
            assert await response.text() == name


async def test_one_link_by_the_form_of_its_page(serve: Serve) -> None:
    served = await serve()
    (job_id,) = await finished(served, "1.txt")
    browser = await signed_in(served)
    async with served.anonymous.get(f"/uploads/{job_id}", headers=browser.headers) as response:
        (form,) = Page(await response.text()).posting(f"/jobs/{job_id}/links")
    shown = await browser.send(
        form.action, form.sent_by("Make the link", file="original", expiresInS="60")
    )
    assert shown.status == 201
    assert f"/s/{job_id}/original?" in shown.text


@pytest.mark.parametrize("act", ["delete", "links"])
async def test_what_cannot_be_asked_for(serve: Serve, join: Join, act: str) -> None:
    served = await serve()
    (mine,) = await finished(served, "1.txt")
    ada = await join(served)
    hers = (await upload(served, by=ada.http))["jobId"]
    too_many = [new_id() for _ in range(MOST_JOBS + 1)]
    for jobs, status in (([], 400), (["x"], 400), (too_many, 400), ([mine, new_id()], 404),
                         ([mine, hers], 404)):  # fmt: skip
        async with served.admin.post(f"/jobs/{act}", json={"jobs": jobs}) as response:
            await refused(response, status, {400: "bad_request", 404: "not_found"}[status])
    for wrong in (0, -1, 31 * 86400, "soon"):
        body = {"jobs": [mine], "expiresInS": wrong}
        async with served.admin.post("/jobs/links", json=body) as response:
            await refused(response, 400, "bad_request")
    assert await left(served) == {mine, hers}
