"""schemathesis makes requests of /openapi.json, valid ones and others: no answer is a server's
error, and each is as the document says.

Every request is also watched from the inside, by tests/contract/answers.py. `make contract` is the
long form.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from pathlib import Path

import aiohttp
import pytest

from appliance.admin_key import create_key
from appliance.ids import new_id
from appliance.permissions import Role
from tests.conftest import ADMIN_KEY, Serve, Served
from tests.web.wire import claim, complete, failed, services_of, upload

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
EXAMPLES = int(os.environ.get("APPLIANCE_TEST_EXAMPLES", "10"))
"""For each operation, beside those that cover the bounds of its schema."""
ENDLESS = "/events$"
"""Streams: tests/web/test_events.py has them."""
DEADLINE_S = 100 + EXAMPLES * 10


@pytest.mark.timeout(DEADLINE_S + 20)
@pytest.mark.parametrize("who", ["admin", "user", "nobody"])
async def test_every_answer_is_documented_and_none_is_a_server_s_error(
    serve: Serve, tmp_path: Path, chance: random.Random, who: str
) -> None:
    served = await serve()
    secret = await key_of(served, "user")
    async with aiohttp.ClientSession(served.url, headers=bearer(secret)) as user:
        ids = await things(served, user)
    key = {"admin": ADMIN_KEY, "user": secret, "nobody": None}[who]
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("schemathesis"),
        *("run", f"{served.url}/openapi.json", "--no-color"),
        *("--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing"),
        *("--exclude-path-regex", ENDLESS, "--generation-with-security-parameters", "false"),
        *("--max-examples", str(EXAMPLES), "--seed", str(chance.randrange(2**32)), "--no-shrink"),
        *("--generation-database", "none", "--request-timeout", "20", "--continue-on-failure"),
        *(f"--header={name}:{value}" for name, value in bearer(key).items()),
        env=os.environ
        | {
            "PYTHONPATH": str(Path(__file__).parent),
            "SCHEMATHESIS_HOOKS": "hooks",
            "APPLIANCE_TEST_IDS": json.dumps(ids),
            "APPLIANCE_TEST_SEED": str(chance.randrange(2**32)),
        },
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(DEADLINE_S):
        told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()
    async with served.anonymous.get("/healthz") as response:
        assert response.status == 200


def bearer(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


async def key_of(served: Served, name: str) -> str:
    shared = services_of(served)
    _, secret = await create_key(shared.database, name=name, role=Role.USER, now=shared.clock.now())
    return secret


async def things(served: Served, user: aiohttp.ClientSession) -> dict[str, list[str]]:
    """Ids of jobs in every state, of unfinished uploads, of a key and of a redrive."""
    found = []
    for person in (user, served.admin):
        for _ in range(4):
            waiting = (await upload(served, by=person))["jobId"]
            done = (await upload(served, by=person))["jobId"]
            await claim(served, done)
            await complete(served, done)
            found += [waiting, done, await failed(served, by=person)]
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "50"}
    uploads = []
    for _ in range(8):
        async with user.post("/files", headers=tus) as response:
            uploads.append(response.headers["Location"].rpartition("/")[2])
        async with served.admin.post("/files", headers=tus) as response:
            uploads.append(response.headers["Location"].rpartition("/")[2])
    for _ in range(3):
        await key_of(served, "spare")
    keys = (await served.json("GET", "/keys"))["keys"]
    links = [await served.json("POST", "/upload-links", json={"files": 100}) for _ in range(2)]
    hook = {"url": "https://hook.invalid/"}
    hooks = [await served.json("POST", "/webhooks", json=hook) for _ in range(4)]
    sent = [
        await served.json("POST", f"/webhooks/{hooks[0]['webhookId']}/test", json={})
        for _ in range(2)
    ]
    everything = {"filter": {}, "limit": 2}
    redrive = await served.json("POST", "/dead-letters/retry", json=everything)
    return {
        "job_id": found,
        "upload_id": uploads,
        "key_id": [*(key["keyId"] for key in keys if key["name"] == "spare"), new_id(), "none"],
        "redrive_id": [redrive["redrive"]["redriveId"]],
        "webhook_id": [one["webhookId"] for one in hooks],
        "delivery_id": [one["deliveryId"] for one in sent],
        "link_id": [link["linkId"] for link in links],
        "token": [links[0]["url"].rpartition("/")[2], "none"],
        "name": ["original", "IMAGE", "PDF"],
        "kind": ["type"],
    }
