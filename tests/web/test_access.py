"""API keys and sessions over HTTP: made, narrowed, listed, ended, and who tries what he may not."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import aiohttp
import pytest

from appliance.clock import rfc3339
from appliance.keys import hash_secret
from appliance.maintenance.recorder import Recorder
from appliance.permissions import EVERY_SCOPE, Role, Scope
from appliance.web.guesses import WRONG, WRONG_TOKENS
from tests.conftest import ADMIN_KEY, Serve, Served
from tests.web.conftest import Join, Person
from tests.web.pages import HTML, page
from tests.web.test_signin import as_browser, session_of, sign_in
from tests.web.wire import kept_by, refused, services_of, upload


async def make(served: Served, **wanted: Any) -> Any:
    return await served.json("POST", "/keys", json={"name": "script", **wanted})


async def ask(served: Served, secret: str, method: str, path: str, **options: Any) -> int:
    headers = {"Authorization": f"Bearer {secret}", **options.pop("headers", {})}
    async with served.anonymous.request(method, path, headers=headers, **options) as response:
        return response.status


async def acts(served: Served) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await served.json("GET", "/audit"))["acts"]
    return found


# --- keys --------------------------------------------------------------------------------


async def test_a_key_is_shown_once_and_works(serve: Serve) -> None:
    served = await serve()
    async with served.admin.post("/keys", json={"name": " nightly  backup "}) as response:
        assert response.status == 201
        assert response.headers["Cache-Control"] == "no-store"
        made = await response.json()
    assert re.fullmatch(r"upa_[a-z2-7]{32}", made["key"])
    assert (made["name"], made["role"], made["state"]) == ("nightly backup", "user", "valid")
    assert made["scopes"] == list(EVERY_SCOPE)
    assert made["prefix"] == made["key"][:10]
    assert await ask(served, made["key"], "GET", "/jobs") == 200
    listed = (await served.json("GET", "/keys"))["keys"]
    assert listed[0]["keyId"] == made["keyId"]
    assert "key" not in listed[0]
    kept = await kept_by(served)
    assert made["key"].encode() not in kept
    assert hash_secret(made["key"]).encode() in kept
    act = (await acts(served))[0]
    assert (act["action"], act["subject"]) == ("key.create", made["owner"])
    assert made["key"] not in str(act)


@pytest.mark.parametrize(
    "wanted",
    [
        {}, {"name": ""}, {"name": "x" * 101}, {"name": "a\u202eb"}, {"name": 5},
        {"name": "a", "role": "root"}, {"name": "a", "scopes": []},
        {"name": "a", "scopes": ["write"]}, {"name": "a", "scope": ["read"]},
        {"name": "a", "expiresInS": 0}, {"name": "a", "expiresInS": -1},
        {"name": "a", "expiresInS": 1e12}, {"name": "a", "expiresAt": "tomorrow"},
        {"name": "a", "expiresAt": "2001-01-01T00:00:00Z"},
        {"name": "a", "expiresAt": "2999-01-01T00:00:00Z"},
        {"name": "a", "expiresInS": 5, "expiresAt": "2030-01-01T00:00:00Z"},
    ],
)  # fmt: skip
async def test_a_key_that_cannot_be_made(serve: Serve, wanted: dict[str, Any]) -> None:
    served = await serve()
    async with served.admin.post("/keys", json=wanted) as response:
        await refused(response, 400, "bad_request")
    assert len((await served.json("GET", "/keys"))["keys"]) == 1  # the admin's


async def test_a_key_ends_with_its_time(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.web.auth.KEY_CACHE_S", 0.01)
    served = await serve()
    now = services_of(served).clock.now()
    short = await make(served, expiresInS=0.3)
    long = await make(served, expiresAt=rfc3339(now + 3600))
    assert await ask(served, short["key"], "GET", "/jobs") == 200
    while await ask(served, short["key"], "GET", "/jobs") == 200:
        pass  # the test's own timeout is the deadline
    async with served.anonymous.get(
        "/jobs", headers={"Authorization": f"Bearer {short['key']}"}
    ) as response:
        await refused(response, 401, "not_signed_in")
    assert await ask(served, long["key"], "GET", "/jobs") == 200
    states = {key["keyId"]: key["state"] for key in (await served.json("GET", "/keys"))["keys"]}
    assert (states[short["keyId"]], states[long["keyId"]]) == ("expired", "valid")


async def test_a_revoked_key_ends_at_once_with_its_sessions(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    cookie = await session_of(served, ada.secret)
    assert await ask(served, ada.secret, "GET", "/jobs") == 200
    assert (await as_browser(served, cookie, "GET", "/jobs"))[0] == 200  # both are cached now
    async with served.admin.delete(f"/keys/{ada.key.id}") as response:
        assert response.status == 204
    assert await ask(served, ada.secret, "GET", "/jobs") == 401
    assert (await as_browser(served, cookie, "GET", "/jobs"))[0] == 401
    for unknown in (ada.key.id, "nonsense", "01M85F1MKT1XZEV6WT98GJ23JH"):
        async with served.admin.delete(f"/keys/{unknown}") as response:
            await refused(response, 404, "not_found")
    act = (await acts(served))[0]
    assert (act["action"], act["subject"]) == ("key.revoke", ada.key.owner)
    assert act["detail"] == {"name": "somebody", "sessions": 1}


async def test_keys_are_listed_page_by_page(serve: Serve) -> None:
    served = await serve()
    made = [(await make(served, name=f"k{number}"))["keyId"] for number in range(3)]
    seen, cursor = [], ""
    while True:
        found = await served.json("GET", f"/keys?limit=2&cursor={cursor}")
        seen += [key["keyId"] for key in found["keys"]]
        cursor = found["nextCursor"]
        if cursor is None:
            break
    assert seen[:3] == made[::-1]
    assert len(seen) == 4


# --- scopes ------------------------------------------------------------------------------

REQUESTS = {
    Scope.UPLOAD: ("PUT", "/upload/a.txt", {"data": b"words"}),
    Scope.READ: ("GET", "/jobs", {}),
    Scope.MANAGE: ("DELETE", "/jobs/{job_id}", {}),
    Scope.ADMIN: ("GET", "/keys", {}),
}


@pytest.mark.parametrize("scope", Scope)
async def test_a_key_does_what_its_scope_says_and_no_more(serve: Serve, scope: Scope) -> None:
    served = await serve()
    key = await make(served, role="admin", scopes=[scope])
    for needed, (method, path, options) in REQUESTS.items():
        job = await upload(served)
        await served.json("POST", f"/jobs/{job['jobId']}/cancel")
        path = path.replace("{job_id}", job["jobId"])
        status = await ask(served, key["key"], method, path, **options)
        # Deleting somebody else's job is an admin's act, of which `manage` knows nothing.
        allowed = scope in (needed, Scope.ADMIN) and (scope, needed) != (Scope.MANAGE,) * 2
        assert (status < 300) == allowed, (needed, status)
        assert allowed or status in (403, 404), (needed, status)


async def test_who_may_manage_but_not_read_still_acts_on_what_is_his(serve: Serve) -> None:
    served = await serve()
    key = await make(served, scopes=["upload", "manage"])
    http = aiohttp.ClientSession(served.url, headers={"Authorization": f"Bearer {key['key']}"})
    async with http:
        job = await upload(served, by=http)
        async with http.get(job["statusUrl"]) as response:
            document = await refused(response, 403, "forbidden")
            assert "scope read" in document["detail"]
        async with http.post(f"/jobs/{job['jobId']}/cancel") as response:
            assert response.status == 200


async def test_a_session_is_as_narrow_as_its_key(serve: Serve) -> None:
    served = await serve()
    key = await make(served, role="admin", scopes=["read"])
    cookie = await session_of(served, key["key"])
    assert (await as_browser(served, cookie, "GET", "/dashboard"))[0] == 200
    assert (await as_browser(served, cookie, "GET", "/keys"))[0] == 403
    headers = {"Cookie": f"appliance={cookie}", "Origin": served.url}
    async with served.anonymous.post("/upload", headers=headers, data=b"x") as response:
        await refused(response, 403, "forbidden")


async def test_an_upload_key_cannot_delete_a_finished_upload(serve: Serve) -> None:
    """tus lets DELETE on an upload delete its job: that takes the scope for jobs."""
    served = await serve()
    key = await make(served, scopes=["upload"])
    tus = {"Tus-Resumable": "1.0.0", "Authorization": f"Bearer {key['key']}"}
    begin = {"Upload-Length": "5", "Content-Type": "application/offset+octet-stream",
             "Upload-Metadata": "filename YS50eHQ="}  # fmt: skip
    async with served.anonymous.post("/files", headers=tus | begin, data=b"words") as response:
        assert response.status == 201
        location = response.headers["Location"]
    assert await ask(served, key["key"], "HEAD", location, headers=tus) == 200
    assert await ask(served, key["key"], "DELETE", location, headers=tus) == 403
    assert len((await served.json("GET", "/jobs"))["jobs"]) == 1
    async with served.anonymous.post("/files", headers=tus | {"Upload-Length": "9"}) as response:
        unfinished = response.headers["Location"]
    assert await ask(served, key["key"], "DELETE", unfinished, headers=tus) == 204


# --- last use ----------------------------------------------------------------------------


async def test_the_last_use_is_written_beside_the_requests(serve: Serve, join: Join) -> None:
    served = await serve()
    shared = services_of(served)
    ada = await join(served)
    began = shared.clock.now()
    cookie = await session_of(served, ada.secret)
    assert (await as_browser(served, cookie, "GET", "/jobs"))[0] == 200
    keys = {key["keyId"]: key for key in (await served.json("GET", "/keys"))["keys"]}
    assert keys[ada.key.id]["lastUsedAt"] is None  # no request has written it
    await Recorder(database=shared.database, last_uses=shared.last_uses).run_once()
    keys = {key["keyId"]: key for key in (await served.json("GET", "/keys"))["keys"]}
    assert rfc3339(began) <= keys[ada.key.id]["lastUsedAt"] <= rfc3339(shared.clock.now())
    sessions = (await served.json("GET", "/sessions"))["sessions"]
    assert sessions[0]["lastUsedAt"] is not None
    assert Recorder.interval_s >= 60


# --- sessions ----------------------------------------------------------------------------


async def test_sessions_are_listed_and_ended(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    one, other = await session_of(served, ada.secret), await session_of(served, ada.secret)
    await session_of(served, ADMIN_KEY)
    status, mine = await as_browser(served, one, "GET", "/sessions")
    assert status == 200
    assert [session["owner"] for session in mine["sessions"]] == [ada.key.owner] * 2
    assert [session["current"] for session in mine["sessions"]] == [False, True]
    assert mine["sessions"][0]["address"] == "127.0.0.1"
    assert len((await served.json("GET", "/sessions"))["sessions"]) == 3
    ended = mine["sessions"][0]["sessionId"]
    assert (await as_browser(served, other, "GET", "/jobs"))[0] == 200
    async with ada.http.delete(f"/sessions/{ended}") as response:
        assert response.status == 204
    assert (await as_browser(served, other, "GET", "/jobs"))[0] == 401
    assert (await as_browser(served, one, "GET", "/jobs"))[0] == 200
    async with ada.http.delete(f"/sessions/{ended}") as response:
        await refused(response, 404, "not_found")
    assert [act["action"] for act in await acts(served)] == []  # one's own is no administration


async def test_an_admin_ends_a_session_of_somebody_else(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, eve = await join(served), await join(served)
    cookie = await session_of(served, ada.secret)
    (session,) = (await served.json("GET", "/sessions"))["sessions"]
    async with eve.http.delete(f"/sessions/{session['sessionId']}") as response:
        await refused(response, 404, "not_found")
    async with served.admin.delete(f"/sessions/{session['sessionId']}") as response:
        assert response.status == 204
    assert (await as_browser(served, cookie, "GET", "/jobs"))[0] == 401
    (act,) = await acts(served)
    assert (act["action"], act["subject"]) == ("session.end", ada.key.owner)


async def test_signing_in_again_ends_the_session_that_was_there(serve: Serve, join: Join) -> None:
    """Whoever planted a cookie, or had it before, does not get in with it."""
    served = await serve()
    ada, eve = await join(served), await join(served)
    planted = await session_of(served, eve.secret)
    assert (await as_browser(served, planted, "GET", "/jobs"))[0] == 200
    response, cookie = await sign_in(served, {"key": ada.secret}, Cookie=f"appliance={planted}")
    assert response.status == 303
    assert cookie is not None
    assert cookie.value != planted
    assert (await as_browser(served, planted, "GET", "/jobs"))[0] == 401
    _, mine = await as_browser(served, cookie.value, "GET", "/sessions")
    assert [session["owner"] for session in mine["sessions"]] == [ada.key.owner]


# --- abuse -------------------------------------------------------------------------------


async def test_who_guesses_is_told_to_wait(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, eve = await join(served), await join(served)
    assert await ask(served, ada.secret, "GET", "/jobs") == 200
    for number in range(WRONG.count):
        assert await ask(served, f"upa_{number:032}", "GET", "/jobs") == 401
    async with served.anonymous.get(
        "/jobs", headers={"Authorization": "Bearer upa_another"}
    ) as response:
        await refused(response, 429, "too_many_attempts")
        assert 1 <= int(response.headers["Retry-After"]) <= 6
    refusal, none = await sign_in(served, {"key": "upa_another"}, Accept="text/html")
    assert (refusal.status, none) == (429, None)
    assert int(refusal.headers["Retry-After"]) >= 1
    refusal, none = await sign_in(served, {"token": "made-up"})
    assert (refusal.status, none) == (429, None)
    # A right key that is new is held up too, else the answer would tell which one is right.
    assert (await sign_in(served, {"key": eve.secret}))[0].status == 429
    # Who was right before is not held up by a stranger behind the same address.
    assert await ask(served, ada.secret, "GET", "/jobs") == 200
    assert (await sign_in(served, {"key": ada.secret}))[0].status == 303
    assert await ask(served, "upa_another", "GET", "/healthz") == 200


async def test_a_thousand_at_once_get_no_further(serve: Serve) -> None:
    served = await serve()
    statuses = await asyncio.gather(
        *(ask(served, f"upa_{number:032}", "GET", "/jobs") for number in range(100))
    )
    assert statuses.count(401) == WRONG.count
    assert statuses.count(429) == 100 - WRONG.count


async def test_made_up_cookies_do_not_hammer_the_database(serve: Serve, join: Join) -> None:
    served = await serve()
    _, cookie = await sign_in(served, {"key": (await join(served)).secret})
    assert cookie is not None
    assert (await as_browser(served, cookie.value, "GET", "/jobs"))[0] == 200
    made_up = [f"{number:032}" for number in range(WRONG_TOKENS.count + 100)]
    answers = await asyncio.gather(*(as_browser(served, one, "GET", "/jobs") for one in made_up))
    statuses = [status for status, _ in answers]
    assert set(statuses) == {401, 429}
    assert statuses.count(401) < WRONG_TOKENS.count + 50  # one more a second
    assert (await as_browser(served, cookie.value, "GET", "/jobs"))[0] == 200
    assert (await sign_in(served, {"key": (await join(served)).secret}))[0].status == 303


async def test_unknown_expired_and_revoked_are_answered_alike(serve: Serve, join: Join) -> None:
    served = await serve()
    revoked = await join(served)
    await served.admin.delete(f"/keys/{revoked.key.id}")
    expired = await make(served, expiresInS=0.001)
    answers = set()
    for secret in (revoked.secret, expired["key"], "upa_" + "a" * 32):
        async with served.anonymous.get(
            "/jobs", headers={"Authorization": f"Bearer {secret}"}
        ) as response:
            answers.add((response.status, await response.text()))
        _, cookie = await sign_in(served, {"key": secret})
        assert cookie is None
    assert len(answers) == 1


# --- refusals in the audit log -------------------------------------------------------------


async def test_a_refused_administrative_act_is_audited_once_a_minute(
    serve: Serve, join: Join
) -> None:
    served = await serve()
    ada, viewer = await join(served), await join(served, Role.VIEWER)
    for _ in range(3):
        for path in ("/keys", "/audit"):
            async with ada.http.get(path) as response:
                await refused(response, 403, "forbidden")
    assert [(act["action"], act["subject"], act["actor"]) for act in await acts(served)] == [
        ("refused", "GET /audit", ada.key.owner), ("refused", "GET /keys", ada.key.owner)
    ]  # fmt: skip
    async with viewer.http.put("/upload/a.txt", data=b"x") as response:
        document = await refused(response, 403, "forbidden")
    assert "role" in document["detail"]
    assert len(await acts(served)) == 2  # that is nobody else's business


async def test_who_reaches_for_anothers_job_is_audited(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, eve = await join(served), await join(served)
    operator = await join(served, Role.OPERATOR)
    job = await upload(served, by=ada.http)
    path = f"/jobs/{job['jobId']}"
    async with eve.http.post(f"{path}/cancel") as response:
        await refused(response, 404, "not_found")
    async with operator.http.post(f"{path}/cancel") as response:
        assert response.status == 200
    async with operator.http.delete(path) as response:
        await refused(response, 403, "forbidden")
    found = [(act["action"], act["actor"]) for act in reversed(await acts(served))]
    assert found == [
        ("refused", eve.key.owner), ("job.cancel", operator.key.owner),
        ("refused", operator.key.owner),
    ]  # fmt: skip
    assert (await acts(served))[0]["detail"] == {"permission": "administer", "path": path}


# --- the page ----------------------------------------------------------------------------


async def test_the_page_makes_and_revokes_a_key(serve: Serve) -> None:
    served = await serve()
    (form,) = (await page(served, "/dashboard/access")).posting("/keys")
    sent = form.sent_by("Make the key", name="Backup <script>", scopes="upload read")
    async with served.admin.post("/keys", data=sent, headers=HTML) as response:
        assert response.status == 201
        assert response.headers["Cache-Control"] == "no-store"
        text = await response.text()
    (secret,) = re.findall(r"upa_[a-z2-7]{32}", text)
    assert "<script>" not in text.partition("<main")[2]
    assert await ask(served, secret, "GET", "/jobs") == 200
    assert await ask(served, secret, "GET", "/keys") == 403
    shown = await page(served, "/dashboard/access")
    assert secret not in shown.text
    assert "User, for upload, read only" in shown.words()
    made = (await served.json("GET", "/keys"))["keys"][0]
    assert made["expiresAt"] is not None  # the first choice is 90 days
    (revoke,) = shown.posting(f"/keys/{made['keyId']}/revoke")
    async with served.admin.post(
        revoke.action, data=revoke.sent_by("Revoke it"), headers=HTML, allow_redirects=False
    ) as response:
        assert (response.status, response.headers["Location"]) == (303, "/dashboard/access")
    assert await ask(served, secret, "GET", "/jobs") == 401
    assert "Revoked" in (await page(served, "/dashboard/access")).words()


async def test_the_page_shows_a_quota_of_a_keys_own(serve: Serve) -> None:
    served = await serve()
    await served.json("POST", "/keys", json={"name": "plain"})
    assert "may have" not in (await page(served, "/dashboard/access")).words()
    await served.json("POST", "/keys", json={"name": "narrow", "quotaBytes": 5_000_000_000})
    assert "may have 5.0 GB" in (await page(served, "/dashboard/access")).words()


async def test_a_user_sees_own_sessions_and_no_keys(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    await session_of(served, ADMIN_KEY)
    cookie = await session_of(served, ada.secret)
    status, text = await as_browser(served, cookie, "GET", "/dashboard/access", Accept="text/html")
    assert status == 200
    assert "this browser" in text
    assert text.count('action="/sessions/') == 1
    assert 'action="/keys"' not in text
    assert 'href="/dashboard"' not in text
    assert 'href="/dashboard/audit"' not in text


async def looks(served: Served, person: Person, path: str) -> str:
    async with person.http.get(path, headers=HTML) as response:
        assert response.status == 200
        return await response.text()


async def test_a_viewer_is_offered_nothing_that_would_be_refused(serve: Serve, join: Join) -> None:
    served = await serve()
    viewer, operator = await join(served, Role.VIEWER), await join(served, Role.OPERATOR)
    job = await upload(served)
    letter = f"/dashboard/jobs/{job['jobId']}"
    for path in ("/dashboard", "/dashboard/dead-letters", letter):
        forms = re.findall(r'<form[^>]*method="post"', await looks(served, viewer, path))
        assert len(forms) == 1, path  # signing out
    assert 'action="/pauses"' in await looks(served, operator, letter)
    assert 'href="/dashboard/audit"' not in await looks(served, operator, letter)
    async with viewer.http.get("/", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/dashboard")
