"""`appliance storage lifecycle`, beside a server."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

from appliance.ids import first_id_at
from tests.acceptance.conftest import Server
from tests.acceptance.test_backup import run


async def test_told_before_it_is_done(new_server: Callable[..., Server], tmp_path: Path) -> None:
    cold = {"APPLIANCE_COLD_STORAGE_URL": f"file://{tmp_path}/cold"}
    server = new_server(cold_storage_url=cold["APPLIANCE_COLD_STORAGE_URL"])
    await server.start()
    job = await server.request("PUT", "/upload/a.txt", data=b"a" * 5000)
    await server.finished(job["jobId"])
    out, _ = await run(server.data_dir, "storage", "lifecycle", "--json", **cold)
    told = json.loads(out)
    assert told["dueForCold"] == {"files": 0, "bytes": 0}
    await server.end()

    _backdate(server.data_dir, job["jobId"])
    out, _ = await run(server.data_dir, "storage", "lifecycle", "--json", **cold)
    assert json.loads(out)["dueForCold"] == {"files": 1, "bytes": 5000}
    out, _ = await run(server.data_dir, "storage", "lifecycle", "--now", **cold)
    assert "In the cold:       1 originals, 5.0 KB" in out
    assert len(list((tmp_path / "cold/raw").rglob("a.txt"))) == 1
    out, _ = await run(server.data_dir, "storage", "usage", "--json")
    used = {(one["kind"], one["place"]): one["bytes"] for one in json.loads(out)["used"]}
    assert used["originals", "cold"] == 5000
    assert ("originals", "hot") not in used
    out, _ = await run(server.data_dir, "storage", "usage")
    assert "ANY originals cold: 1 files, 5.0 KB" in out
    _, err = await run(server.data_dir, "storage", "lifecycle", "--now", expect=2)
    assert "APPLIANCE_COLD_STORAGE_URL" in err


async def test_an_owner_has_an_age_of_its_own(
    new_server: Callable[..., Server], tmp_path: Path
) -> None:
    server = new_server()
    await server.start()
    await server.end()
    (server.data_dir / "presets").mkdir()
    (server.data_dir / "presets/short.toml").write_text(
        "version = 1\n[lifecycle]\ndelete_after_days = 7\n"
    )
    await run(server.data_dir, "storage", "keep", "key:a", "90")
    await run(server.data_dir, "storage", "keep", "key:b", "0")
    await run(server.data_dir, "storage", "keep", "key:b", "30", "--results")
    out, _ = await run(server.data_dir, "storage", "lifecycle")
    assert "Preset short, originals: after 7 days" in out
    assert "Owner key:a, originals: after 90 days" in out
    assert "Owner key:b, originals: kept for ever" in out
    assert "Owner key:b, results: after 30 days" in out
    await run(server.data_dir, "storage", "keep", "key:a", "default")
    out, _ = await run(server.data_dir, "storage", "lifecycle", "--json")
    assert json.loads(out)["ages"]["owners"] == {"key:b": {"originals": 0, "results": 30}}
    _, err = await run(server.data_dir, "storage", "keep", "key:a", "soon", expect=2)
    assert "give a number of days" in err


def _backdate(data_dir: Path, job_id: str) -> None:
    """As if it had come long ago: ids tell the time."""
    old = first_id_at(1_700_000_000.0)[:10] + job_id[10:]
    with sqlite3.connect(data_dir / "appliance.db") as database:
        database.execute("PRAGMA foreign_keys=OFF")
        database.create_function("lowered", 1, str.lower)
        database.execute("UPDATE uploads SET id = ? WHERE id = ?", (old, job_id))
        database.execute("UPDATE jobs SET upload_id = ? WHERE upload_id = ?", (old, job_id))
