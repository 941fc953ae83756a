"""Operators are told: the whole way, from an upload that fails to a receiver that hears of it."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from appliance.errors import ConfigurationError
from appliance.maintenance import teller
from tests import media
from tests.conftest import Serve
from tests.receiver import receiving


async def test_a_job_that_is_given_up_is_told(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teller, "GATHER_S", 0.0)
    monkeypatch.setattr(teller.Teller, "interval_s", 0.05)
    async with receiving(path="hooks/k3epthissecret") as receiver:
        with capture_logs() as logs:
            served = await serve(
                workers=True,
                notify_urls=f"json://127.0.0.1:1/k3epthissecret, {receiver.url}",
            )
            job = await served.json(
                "PUT", "/upload/cat.png", data=media.truncated(media.png(64, 64))
            )
            await served.finished(job["jobId"])
            async with asyncio.timeout(60):
                await receiver.told.wait()
    assert receiver.titles == ["Upload Appliance: 1 job failed"]
    assert "1 image, " in receiver.bodies[0]
    assert receiver.bodies[0].endswith(f"\n{served.url}/dashboard/dead-letters")
    assert "k3epthissecret" not in repr(logs)


async def test_a_url_that_nobody_understands_stops_the_start(serve: Serve) -> None:
    with pytest.raises(ConfigurationError, match=r"URL 1 of 1 \(nosuch://…\)"):
        await serve(notify_urls="nosuch://k3epthissecret@example.org")
