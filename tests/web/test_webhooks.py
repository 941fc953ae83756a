"""Webhooks over HTTP and on their page: endpoints, secrets, deliveries, callbacks."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import standardwebhooks
from aiohttp.test_utils import unused_port

from appliance.web.webhooks import MAX_OF_AN_OWNER
from tests.conftest import Serve, Served
from tests.hooks import OK, Hook, answering, hooked
from tests.web.conftest import Join
from tests.web.pages import HTML, Page, page
from tests.web.wire import DEADLINE_S, claim, complete, fail, failed, refused, until, upload

URL = "https://hooks.example/x"
TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    async with hooked() as one:
        yield one


async def make(served: Served, url: str, *, by: Any = None, **members: Any) -> Any:
    document = {"url": url, **members}
    async with (by or served.admin).post("/webhooks", json=document) as response:
        assert response.status == 201, await response.text()
        assert response.headers["Cache-Control"] == "no-store"
        made = await response.json()
        assert response.headers["Location"] == f"/webhooks/{made['webhookId']}"
        return made


async def delivery_when(served: Served, state: str, **query: str) -> Any:
    """The newest delivery once it is in this state; the deliverer looks every 0.25 s."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            found = await served.json("GET", "/webhooks/deliveries", params=query)
            if found["deliveries"] and found["deliveries"][0]["state"] == state:
                return found["deliveries"][0]
            await asyncio.sleep(0.05)


async def ended(served: Served, **options: Any) -> Any:
    job = await upload(served, **options)
    await claim(served, job["jobId"])
    await complete(served, job["jobId"], result={"words": 1})
    return job


# --- what is told, and who can tell that it was us ---------------------------------------


async def test_the_end_of_a_job_is_told_as_its_owner_sees_it(serve: Serve, hook: Hook) -> None:
    served = await serve(outgoing="any")
    made = await make(served, hook.url, description=" Photo  library ")
    assert made["description"] == "Photo library"
    job = await ended(served)
    await until(lambda: hook.messages)
    message = hook.messages[0]
    told = standardwebhooks.Webhook(made["secret"]).verify(message.body, dict(message.headers))
    assert told["data"] == await served.json("GET", f"/status/{job['jobId']}")
    assert told["type"] == "job.completed"
    assert message.headers["Content-Type"] == "application/json"
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(made["secret"]).verify(message.body + b" ", dict(message.headers))
    delivery = await delivery_when(served, "delivered", job=job["jobId"])
    whole = await served.json("GET", f"/webhooks/deliveries/{delivery['deliveryId']}")
    assert whole["payload"] == told
    assert delivery["deliveryId"] == message.id
    assert [(one["number"], one["status"], one["fault"]) for one in whole["tries"]] == [
        (1, 204, None)
    ]
    shown = await page(served, f"/dashboard/jobs/{job['jobId']}")
    assert "Who was told Delivered" in shown.words()
    assert "appliance_webhook_tries_total{outcome=" in await metrics(served)


async def metrics(served: Served) -> str:
    async with served.admin.get("/metrics") as response:
        return await response.text()


async def test_secrets_are_shown_once_and_rotate(serve: Serve, hook: Hook) -> None:
    served = await serve(outgoing="any")
    made = await make(served, hook.url)
    path = f"/webhooks/{made['webhookId']}"
    rotated = await served.json("POST", f"{path}/rotate")
    assert rotated["secret"] not in ("", made["secret"])
    for told in (await served.json("GET", path), await served.json("GET", "/webhooks")):
        assert "whsec_" not in str(told)
    delivery = await served.json("POST", f"{path}/test")
    await until(lambda: hook.messages)
    for secret in (made["secret"], rotated["secret"]):
        message = hook.messages[0]
        told = standardwebhooks.Webhook(secret).verify(message.body, dict(message.headers))
        assert told["type"] == "webhook.test"
        assert told["data"] == {"webhookId": made["webhookId"]}
    assert message.id == delivery["deliveryId"]


# --- endpoints ---------------------------------------------------------------------------


REFUSED = (
    ({}, "url is missing"),
    ({"url": "ftp://example.org/"}, "no address"),
    ({"url": "https://"}, "no address"),
    ({"url": "http://example.org/"}, "https only"),
    ({"url": "https://127.0.0.1/"}, "not a public address"),
    ({"url": "https://[::ffff:127.0.0.1]/"}, "not a public address"),
    ({"url": "https://169.254.169.254/latest"}, "not a public address"),
    ({"url": "https://\uff11\uff12\uff17.0.0.1/"}, "not a public address"),
    ({"url": "https://ada:pass@example.org/"}, "no user and no password"),
    ({"url": "https://:pass@example.org/"}, "no user and no password"),
    ({"url": "https://example.org\uff03@example.net/"}, "no address"),
    ({"url": "https://[::1"}, "no address"),
    ({"url": "https://example.org:99999/"}, "no address"),
    ({"url": "https://example.org/" + "x" * 2048}, "2,048"),
    ({"url": "https://example.org/a b"}, "no blanks"),
    ({"url": URL, "events": []}, "one or more of job.completed"),
    ({"url": URL, "events": ["webhook.test"]}, "one or more of job.completed"),
    ({"url": URL, "description": "x" * 201}, "200"),
    ({"url": URL, "secret": "mine"}, "secret is not known"),
)


async def test_what_an_endpoint_may_not_be(serve: Serve) -> None:
    served = await serve()
    for document, says in REFUSED:
        async with served.admin.post("/webhooks", json=document) as response:
            assert says in (await refused(response, 400, "bad_request"))["detail"]
    assert (await served.json("GET", "/webhooks"))["webhooks"] == []


async def test_an_endpoint_is_changed_and_deleted(serve: Serve) -> None:
    served = await serve()
    made = await make(served, URL, events=["job.failed", "job.completed"])
    path = f"/webhooks/{made['webhookId']}"
    assert made["events"] == ["job.completed", "job.failed"]
    changes = {"description": "Mine", "events": ["job.cancelled"], "active": False}
    changed = await served.json("PATCH", path, json=changes)
    assert changed == {**{k: v for k, v in made.items() if k != "secret"}, **changes}
    async with served.admin.post(f"{path}/test") as response:
        await refused(response, 409, "webhook_inactive")
    async with served.admin.delete(path) as response:
        assert response.status == 204
    async with served.admin.get(path) as response:
        await refused(response, 404, "not_found")


async def test_an_owner_has_so_many_and_no_more(serve: Serve, join: Join) -> None:
    served = await serve()
    for _ in range(MAX_OF_AN_OWNER):
        await make(served, URL)
    async with served.admin.post("/webhooks", json={"url": URL}) as response:
        await refused(response, 409, "too_many_webhooks")
    await make(served, URL, by=(await join(served)).http)
    first = await served.json("GET", "/webhooks?limit=15")
    rest = await served.json("GET", f"/webhooks?limit=15&cursor={first['nextCursor']}")
    assert len({one["webhookId"] for one in first["webhooks"] + rest["webhooks"]}) == 21
    assert rest["nextCursor"] is None


async def test_an_admin_s_act_on_another_s_is_audited(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    made = await make(served, URL, by=ada.http)
    own = await make(served, URL)
    for one in (own, made):
        await served.json("PATCH", f"/webhooks/{one['webhookId']}", json={"description": "x"})
    acts = (await served.json("GET", "/audit"))["acts"]
    (act,) = [act for act in acts if act["action"].startswith("webhook.")]
    assert (act["action"], act["subject"]) == ("webhook.change", f"webhook:{made['webhookId']}")
    assert act["detail"] == {"owner": ada.key.owner}
    assert URL not in str(acts)


# --- deliveries --------------------------------------------------------------------------


async def test_what_failed_is_sent_again_when_somebody_asks(serve: Serve, hook: Hook) -> None:
    served = await serve(outgoing="any")
    made = await make(served, hook.url)
    hook.answer = answering(500, body=b"down")
    await ended(served)
    waiting = await delivery_when(served, "pending")
    await until(lambda: hook.messages)
    hook.answer = answering(410)
    await served.json("POST", f"/webhooks/deliveries/{waiting['deliveryId']}/replay")
    await delivery_when(served, "failed")
    webhook = await served.json("GET", f"/webhooks/{made['webhookId']}")
    assert (webhook["active"], webhook["disabledReason"]) == (False, "It answered 410 Gone.")
    replay = f"/webhooks/deliveries/{waiting['deliveryId']}/replay"
    async with served.admin.post(replay) as response:
        await refused(response, 409, "webhook_inactive")
    since = {"since": "2026-01-01T00:00:00Z"}
    nothing = await served.json("POST", "/webhooks/deliveries/replay", json=since)
    assert nothing == {"count": 0}
    hook.answer = OK
    await served.json("PATCH", f"/webhooks/{made['webhookId']}", json={"active": True})
    later = {"since": "2126-01-01T00:00:00Z"}
    assert await served.json("POST", "/webhooks/deliveries/replay", json=later) == {"count": 0}
    again = {**since, "webhookId": made["webhookId"]}
    assert await served.json("POST", "/webhooks/deliveries/replay", json=again) == {"count": 1}
    delivered = await delivery_when(served, "delivered")
    assert delivered["attempt"] == 3
    assert len(set(hook.ids())) == 1
    of_webhook = await served.json("GET", f"/webhooks/{made['webhookId']}/deliveries")
    assert of_webhook["deliveries"] == [delivered]
    assert (await served.json("GET", "/webhooks/deliveries?state=failed"))["deliveries"] == []
    async with served.admin.get("/webhooks/deliveries?state=lost") as response:
        await refused(response, 400, "bad_request")


async def test_what_is_deleted_with_a_job(serve: Serve, hook: Hook) -> None:
    """What was sent of it goes; what waits is sent."""
    served = await serve(outgoing="any")
    await make(served, hook.url)
    job = await ended(served)
    await delivery_when(served, "delivered")
    async with served.admin.delete(f"/jobs/{job['jobId']}") as response:
        assert response.status == 204
    assert (await served.json("GET", "/webhooks/deliveries"))["deliveries"] == []


# --- callbacks ---------------------------------------------------------------------------


async def send_form(served: Served, url: str) -> str:
    form = aiohttp.FormData({"callbackUrl": url})
    form.add_field("file", b"words", filename="a.txt")
    async with served.admin.post("/upload", data=form) as response:
        assert response.status == 202, await response.text()
        return str((await response.json())["jobId"])


async def send_raw(served: Served, url: str) -> str:
    return str((await upload(served, callbackUrl=url))["jobId"])


async def send_tus(served: Served, url: str) -> str:
    value = base64.b64encode(url.encode()).decode()
    headers = TUS | {"Upload-Length": "5", "Upload-Metadata": f"callbackUrl {value}"}
    async with served.admin.post("/files", headers=headers, data=b"words") as response:
        assert response.status == 201, await response.text()
        return response.headers["Upload-Job-Id"]


async def send_ietf(served: Served, url: str) -> str:
    headers = {"Upload-Complete": "?1"}
    query = {"filename": "a.txt", "callbackUrl": url}
    async with served.admin.post("/files", params=query, headers=headers, data=b"words") as answer:
        assert answer.status == 202, await answer.text()
        return str((await answer.json())["jobId"])


async def test_every_way_to_upload_takes_a_callback(serve: Serve, hook: Hook) -> None:
    served = await serve(outgoing="any")
    secret = (await served.json("POST", "/webhooks/callback-secret"))["secret"]
    job_ids = []
    for number, send in enumerate((send_form, send_raw, send_tus, send_ietf)):
        job_id = await send(served, f"{hook.url}?way={number}")
        await claim(served, job_id)
        await fail(served, job_id)
        job_ids.append(job_id)
    await until(lambda: len(hook.messages) == 4)
    verify = standardwebhooks.Webhook(secret).verify
    told = {one.path: verify(one.body, dict(one.headers)) for one in hook.messages}
    assert [told[f"/hook?way={number}"]["data"]["jobId"] for number in range(4)] == job_ids
    assert {one["type"] for one in told.values()} == {"job.failed"}
    newer = await served.json("POST", "/webhooks/callback-secret")
    assert newer["secret"] != secret
    assert newer["oldSecretUntil"] is not None


async def test_a_callback_to_a_private_place_is_refused_at_the_upload(serve: Serve) -> None:
    served = await serve()
    for url in ("https://10.0.0.1/", "http://example.org/", "https://a:b@example.org/", "nowhere"):
        query = {"filename": "a.txt", "callbackUrl": url}
        async with served.admin.post("/upload", params=query, data=b"words") as response:
            assert "callbackUrl" in (await refused(response, 400, "bad_request"))["detail"]
    assert (await served.json("GET", "/jobs"))["jobs"] == []


async def test_a_name_that_leads_home_is_found_out_at_delivery(serve: Serve, hook: Hook) -> None:
    served = await serve()
    port = hook.url.split(":")[2].removesuffix("/hook")
    for name in ("localhost", "2130706433", "0x7f.1"):
        job = await ended(served, callbackUrl=f"https://{name}:{port}/")
        delivery = await delivery_when(served, "pending", job=job["jobId"])
        async with asyncio.timeout(DEADLINE_S):
            path = f"/webhooks/deliveries/{delivery['deliveryId']}"
            while not (tries := (await served.json("GET", path))["tries"]):
                await asyncio.sleep(0.05)
        assert [one["status"] for one in tries] == [None]
        assert "127.0.0.1" not in tries[0]["fault"]
    assert hook.messages == []


# --- the page ----------------------------------------------------------------------------


async def test_the_page_does_it_all_without_scripts(serve: Serve, hook: Hook) -> None:
    served = await serve(outgoing="any")
    shown = await page(served, "/dashboard/webhooks")
    (form,) = shown.posting("/webhooks")
    typed = form.sent_by("Add the webhook", url=hook.url, description="<b>mine</b>")
    typed.add("events", "job.completed")
    async with served.admin.post("/webhooks", data=typed, headers=HTML) as response:
        assert response.status == 201
        made = Page(await response.text())
    secret = next(word for word in made.words().split() if word.startswith("whsec_"))
    (webhook,) = (await served.json("GET", "/webhooks"))["webhooks"]
    assert webhook["events"] == ["job.completed"]
    path = f"/webhooks/{webhook['webhookId']}"
    (test,) = made.posting(f"{path}/test")
    assert test.fields["next"] == "/dashboard/webhooks"
    async with served.admin.post(
        test.action, data=test.fields, headers=HTML, allow_redirects=False
    ) as response:
        assert (response.status, response.headers["Location"]) == (303, "/dashboard/webhooks")
    await until(lambda: hook.messages)
    message = hook.messages[0]
    standardwebhooks.Webhook(secret).verify(message.body, dict(message.headers))
    await delivery_when(served, "delivered")
    shown = await page(served, "/dashboard/webhooks")
    assert "<b>mine</b>" in shown.words()
    assert secret not in shown.words()
    assert "Delivered A test" in shown.words()
    for action, expected in (("/change", False), ("/change", True)):
        (form,) = shown.posting(path + action)
        async with served.admin.post(form.action, data=form.fields, headers=HTML) as response:
            shown = Page(await response.text())
        assert (await served.json("GET", path))["active"] is expected
    for action in ("/webhooks/callback-secret", f"{path}/rotate"):
        (form,) = shown.posting(action)
        async with served.admin.post(form.action, data=form.fields, headers=HTML) as response:
            assert "whsec_" in await response.text()
    (form,) = shown.posting(f"{path}/delete")
    async with served.admin.post(form.action, data=form.fields, headers=HTML) as response:
        assert "None yet." in Page(await response.text()).words()


async def test_who_sees_which_on_the_page(serve: Serve, join: Join) -> None:
    served = await serve()
    ada, bob = await join(served), await join(served)
    await make(served, "https://ada.example/x", by=ada.http)
    for http, seen in ((ada.http, True), (bob.http, False), (served.admin, True)):
        async with http.get("/dashboard/webhooks", headers=HTML) as response:
            assert ("ada.example" in await response.text()) is seen


async def test_a_job_s_page_tells_that_it_was_told_and_not_where(serve: Serve) -> None:
    served = await serve(outgoing="any")
    await make(served, f"http://127.0.0.1:{unused_port()}/secret-path")
    job_id = await failed(served)
    await delivery_when(served, "pending")
    async with served.admin.get(f"/dashboard/jobs/{job_id}", headers=HTML) as response:
        text = await response.text()
    assert "Who was told" in text
    assert "secret-path" not in text
