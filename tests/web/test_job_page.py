"""A job's own page: for staff at /dashboard/jobs/{jobId}, for its owner at /uploads/{jobId}."""

from __future__ import annotations

import pytest

from appliance.permissions import Role
from tests.conftest import Serve, Served
from tests.records import a_result
from tests.web.conftest import Join, Person
from tests.web.pages import HTML, Page, links, page
from tests.web.wire import claim, complete, fail, failed, services_of, upload

JOBS = "/dashboard/jobs"


async def seen_by(person: Person, path: str, status: int = 200) -> Page:
    async with person.http.get(path, headers=HTML) as response:
        assert response.status == status
        return Page(await response.text())


async def job_of(person: Person, name: str = "a.txt") -> str:
    data = b"words"
    async with person.http.post(f"/upload?filename={name}", data=data) as response:
        assert response.status == 202
        return str((await response.json())["jobId"])


def bars(shown: Page) -> list[tuple[int, int]]:
    """Where each bar of the job's life begins, and how long it is."""
    return [
        (int(rect["x"] or 0), int(rect["width"] or 0))
        for rect in shown.named("rect")
        if rect.get("class") == "life-fill"
    ]


async def test_the_life_of_a_job_that_was_tried_twice(serve: Serve) -> None:
    served = await serve()
    job_id = await failed(served, name="cat.txt", message="It broke.")
    await served.json("POST", f"/jobs/{job_id}/retry")
    await claim(served, job_id)
    await complete(served, job_id, attempt=2)
    shown = await page(served, f"{JOBS}/{job_id}")
    moves = [
        attributes["data-signal"]
        for _, attributes in shown.elements
        if (attributes.get("data-key") or "").startswith("move-")
    ]
    # received, attempt 1, failed, in the queue again, attempt 2, done
    assert moves == ["idle", "needs", "needs", "idle", "done", "done"]
    begins = [left for left, _ in bars(shown)]
    assert begins == sorted(begins)
    assert all(left >= 0 and left + width <= 1000 for left, width in bars(shown))
    assert list(links(shown, "#attempt-")) == ["#attempt-1", "#attempt-2"]
    ids = [attributes.get("id") for _, attributes in shown.elements]
    assert {"attempt-1", "attempt-2"} <= set(ids)
    # Nothing is drawn by a style, which the policy would forbid.
    assert not [1 for _, attributes in shown.elements if "style" in attributes]


async def test_results_are_shown_and_lead_to_their_bytes(serve: Serve) -> None:
    served = await serve()
    job_id = (await upload(served))["jobId"]
    await claim(served, job_id)
    names = ("thumbnail.webp", "web.webp")
    await complete(served, job_id, files=[a_result(job_id, 1, name) for name in names])
    shown = await page(served, f"{JOBS}/{job_id}")
    urls = [f"/jobs/{job_id}/files/{name}" for name in names]
    assert [url for url in links(shown, f"/jobs/{job_id}/files/") if "original" not in url] == urls
    assert [img["src"] for img in shown.named("img") if "files" in (img["src"] or "")] == urls


async def test_what_people_did_is_for_admins(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, operator = await join(served), await join(served, Role.OPERATOR)
    job_id = await job_of(ada)
    async with operator.http.post(f"/jobs/{job_id}/cancel") as response:
        assert response.status == 200
    told = (await page(served, f"{JOBS}/{job_id}")).words()
    assert "What people did Cancelled a job" in told
    for person, path in ((operator, JOBS), (ada, "/uploads")):
        assert "What people did" not in (await seen_by(person, f"{path}/{job_id}")).words()


async def test_an_owner_sees_his_own_and_only_what_is_his_to_do(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, bob = await join(served), await join(served)
    job_id = await job_of(ada)
    await claim(served, job_id)
    await fail(served, job_id)
    shown = await seen_by(ada, f"/uploads/{job_id}")
    actions = {form.action for form in shown.acts()}
    assert actions == {f"/jobs/{job_id}/{act}" for act in ("retry", "process", "links", "delete")}
    (delete,) = shown.posting(f"/jobs/{job_id}/delete")
    assert delete.fields["next"] == "/"
    assert "review" not in shown.words()
    assert not list(links(shown, "/dashboard/dead-letters"))
    await seen_by(bob, f"/uploads/{job_id}", status=404)
    await seen_by(ada, f"{JOBS}/{job_id}", status=403)
    await seen_by(ada, "/uploads/nothing", status=404)
    async with ada.http.get("/", headers=HTML) as response:
        cards = Page(await response.text())
    assert f"/uploads/{job_id}" in links(cards, "/uploads/")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.ADMIN])
async def test_a_role_is_offered_what_it_may(serve: Serve, join: Join, role: Role) -> None:
    served = await serve()
    ada, person = await join(served), await join(served, role)
    job_id = await job_of(ada)
    await claim(served, job_id)
    await fail(served, job_id)
    shown = await seen_by(person, f"{JOBS}/{job_id}")
    offered = {form.action.rpartition("/")[2] for form in shown.acts()}
    operates = {"retry", "process", "links", "discard", "pauses"}
    assert (
        offered
        == {
            Role.VIEWER: set(),
            Role.OPERATOR: operates,
            Role.ADMIN: operates | {"delete", "pin"},
        }[role]
    )
    # And what is offered is taken: no button leads to a refusal.
    for form in shown.acts():
        if form.action.endswith("/retry"):
            async with person.http.post(form.action, data=dict(form.fields)) as response:
                assert response.status == 200


async def test_the_page_follows_the_job(serve: Serve) -> None:
    """What panels.js fetches again and again tells what has become of it."""
    served = await serve()
    job_id = (await upload(served))["jobId"]
    path = f"{JOBS}/{job_id}"
    assert "In the queue." in await panels(served, path)
    await claim(served, job_id)
    assert "Attempt 1" in await panels(served, path)
    await complete(served, job_id)
    assert "Done just now." in await panels(served, path)
    await services_of(served).acts.delete(job_id, actor="me", audited=False)
    await page(served, path, status=404)


async def panels(served: Served, path: str) -> str:
    async with served.admin.get(f"{path}?fragment=panels", headers=HTML) as response:
        assert response.status == 200
        return Page(await response.text()).words()
