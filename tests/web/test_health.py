"""GET /healthz, /readyz and /metrics: what the surroundings ask."""

from __future__ import annotations

import pytest

from appliance.errors import DatabaseUnavailable
from tests import media
from tests.conftest import Serve
from tests.web.conftest import Join
from tests.web.wire import services_of, upload


async def test_alive_and_ready_need_no_key_and_tell_no_more(serve: Serve, join: Join) -> None:
    served = await serve()
    ada = await join(served)
    for session in (served.anonymous, ada.http):
        for path, word in (("/healthz", "ok"), ("/readyz", "ready")):
            async with session.get(path) as response:
                assert (response.status, await response.json()) == (200, {"status": word})


async def test_admins_are_told_of_every_part(serve: Serve) -> None:
    served = await serve()
    found = await served.json("GET", "/readyz")
    assert found["status"] == "ready"
    assert found["parts"].keys() == {"database", "storage", "workers", "processors", "sandbox"}
    assert all(part["ok"] for part in found["parts"].values())


async def test_a_full_disk_is_not_ready_but_alive(serve: Serve) -> None:
    served = await serve(reserve_bytes="1000TiB")
    async with served.admin.get("/readyz") as response:
        assert response.status == 503
        found = await response.json()
    assert found["status"] == "not ready"
    assert not found["parts"]["storage"]["ok"]
    assert found["parts"]["database"]["ok"]
    async with served.anonymous.get("/readyz") as response:
        assert (response.status, await response.json()) == (503, {"status": "not ready"})
    async with served.anonymous.get("/healthz") as response:
        assert response.status == 200


async def test_a_lost_database_is_not_ready_but_alive(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve()

    async def fail(_: object) -> None:
        raise DatabaseUnavailable("The database does not answer.")

    with monkeypatch.context() as broken:
        broken.setattr(services_of(served).database, "read", fail)
        async with served.anonymous.get("/readyz") as response:
            assert (response.status, await response.json()) == (503, {"status": "not ready"})
        async with served.anonymous.get("/healthz") as response:
            assert response.status == 200
    async with served.anonymous.get("/readyz") as response:
        assert response.status == 200


async def test_a_stopping_server_is_not_ready(serve: Serve) -> None:
    served = await serve()
    services_of(served).stopping.set()
    async with served.anonymous.get("/readyz") as response:
        assert response.status == 503


async def test_warm_workers_are_ready(serve: Serve) -> None:
    served = await serve(workers=True, workers_pdf="0", workers_video="0", workers_any="0")
    assert (await served.json("GET", "/readyz"))["parts"]["workers"]["ok"]


async def test_metrics_are_figures_of_what_happened(serve: Serve) -> None:
    served = await serve()
    photo = media.jpeg(32, 24)
    await upload(served, photo, "a.jpg")
    await upload(served, photo, "b.jpg")
    await upload(served, b"words")
    async with served.admin.get("/nowhere/at/all"), served.admin.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        lines = (await response.text()).splitlines()
    for line in (
        'appliance_uploads_total{type="IMAGE"} 2.0',
        'appliance_uploads_total{type="ANY"} 1.0',
        f"appliance_upload_bytes_total {2.0 * len(photo) + 5}",
        'appliance_queue_jobs{type="IMAGE"} 2.0',
        'appliance_http_requests_total{method="POST",route="/upload",status="202"} 3.0',
        'appliance_http_requests_total{method="GET",route="unknown",status="404"} 1.0',
    ):
        assert line in lines, [one for one in lines if one[:24] == line[:24]]


async def test_strangers_cannot_grow_the_metrics(serve: Serve) -> None:
    """A label for every address or method that somebody makes up would fill the memory."""
    served = await serve()
    for number in range(5):
        async with (
            served.anonymous.get(f"/made/up/{number}"),
            served.anonymous.get(f"/jobs/{number}"),
            served.anonymous.request(f"MADEUP{number}", "/jobs"),
            served.anonymous.request("PROPFIND", "/jobs"),
        ):
            pass
    async with served.admin.get("/metrics") as response:
        figures = await response.text()
    assert "/made/up" not in figures
    assert "MADEUP" not in figures
    assert "PROPFIND" not in figures
    assert 'method="other"' in figures
