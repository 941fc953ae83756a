"""Each black-box test is run against every server that can what it needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.conftest import ADMIN_KEY, Serve
from tests.tus.peers import DIFFERENCES, EXPIRY_S, EXTENSIONS, MAX_BYTES, Peer, tus_server


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "peer" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("needs")
    needed = set(marker.args) if marker else set()
    peers = []
    for name, extensions in EXTENSIONS.items():
        if needed <= extensions:
            reason = DIFFERENCES.get((name, metafunc.function.__name__))
            marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
            peers.append(pytest.param(name, id=name, marks=marks))
    metafunc.parametrize("peer", peers, indirect=True)


@pytest.fixture
async def peer(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> AsyncIterator[Peer]:
    if request.param == "appliance":
        served = await serve(max_upload_bytes=str(MAX_BYTES), upload_expiry_s=str(EXPIRY_S))
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        async with aiohttp.ClientSession(headers=headers) as http:
            yield Peer(request.param, f"{served.url}/files", http)
    else:
        async with tus_server(tmp_path / "foreign") as url, aiohttp.ClientSession() as http:
            yield Peer(request.param, url, http)
