"""`appliance storage lifecycle`, beside a server."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.ids import first_id_at, new_id
from appliance.storage.buckets.s3 import S3Bucket
from appliance.storage.spool import Given
from tests import buckets
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
    prices = {"APPLIANCE_HOT_USD_PER_GB": "20000", "APPLIANCE_COLD_USD_PER_GB": "5000"}
    _, err = await run(server.data_dir, "storage", "lifecycle", expect=2, **prices, **cold)
    assert "give a price in US dollars" in err
    prices = {"APPLIANCE_HOT_USD_PER_GB": "9000", "APPLIANCE_COLD_USD_PER_GB": "1000.5"}
    out, _ = await run(server.data_dir, "storage", "lifecycle", **prices, **cold)
    assert "At $9000 for a GB, and $1000.5 in the cold, that is $" in out
    assert "the cold place saves $0.04." in out
    out, _ = await run(server.data_dir, "storage", "usage", "--json")
    used = {(one["kind"], one["place"]): one["bytes"] for one in json.loads(out)["used"]}
    assert used["originals", "cold"] == 5000
    assert ("originals", "hot") not in used
    out, _ = await run(server.data_dir, "storage", "usage")
    assert "ANY originals cold: 1 files, 5.0 KB" in out
    _, err = await run(server.data_dir, "storage", "lifecycle", "--now", expect=2)
    assert "APPLIANCE_COLD_STORAGE_URL" in err


async def test_nothing_is_due_where_there_is_no_cold_place(
    new_server: Callable[..., Server],
) -> None:
    server = new_server()
    await server.start()
    job = await server.request("PUT", "/upload/a.txt", data=b"a" * 5000)
    await server.finished(job["jobId"])
    await server.end()
    _backdate(server.data_dir, job["jobId"])
    out, _ = await run(server.data_dir, "storage", "lifecycle")
    assert "There is no cold place" in out
    assert "Old enough" not in out
    out, _ = await run(server.data_dir, "storage", "lifecycle", "--json")
    assert json.loads(out)["dueForCold"] == {"files": 0, "bytes": 0}
    out, _ = await run(server.data_dir, "storage", "lifecycle", APPLIANCE_COLD_AFTER_DAYS="0")
    assert "Nothing goes to the cold place" in out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--now", "--dry-run"), "goes with --apply"),
        (("--dry-run",), "goes with --apply"),
        (("--now", "--apply"), "not allowed with argument"),
    ],
)
async def test_what_does_not_go_together_is_refused(
    tmp_path: Path, options: tuple[str, ...], told: str
) -> None:
    _, err = await run(tmp_path, "storage", "lifecycle", *options, expect=2)
    assert told in err


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
    one, other = f"key:{new_id()}", f"key:{new_id()}"
    out, err = await run(server.data_dir, "storage", "keep", one, "90")
    assert out == (
        f"Owner {one}, originals: after 90 days\n"
        f"Owner {one}, results: kept for ever, as for all others\n"
    )
    assert f"nobody here is {one}" in err
    await run(server.data_dir, "storage", "keep", other, "0")
    await run(server.data_dir, "storage", "keep", other, "30", "--results")
    out, _ = await run(server.data_dir, "storage", "lifecycle")
    assert "Preset short, originals: after 7 days" in out
    assert f"Owner {one}, originals: after 90 days" in out
    assert f"Owner {other}, originals: kept for ever" in out
    assert f"Owner {other}, results: after 30 days" in out
    out, _ = await run(server.data_dir, "storage", "keep", one, "default")
    of_all = "after 365 days, with the preset short after 7 days, as for all others"
    assert f"Owner {one}, originals: {of_all}\n" in out
    out, _ = await run(server.data_dir, "storage", "lifecycle", "--json")
    assert json.loads(out)["ages"]["owners"] == {other: {"originals": 0, "results": 30}}
    _, err = await run(server.data_dir, "storage", "keep", one, "soon", expect=2)
    assert "give a number of days" in err
    _, err = await run(server.data_dir, "storage", "keep", "nonsense", "5", expect=2)
    assert "an owner is `key:<id>`" in err
    with sqlite3.connect(server.data_dir / "appliance.db") as database:
        ((key_id,),) = database.execute("SELECT id FROM api_keys").fetchall()
    _, err = await run(server.data_dir, "storage", "keep", f"key:{key_id}", "5")
    assert err == ""


async def test_the_bucket_is_told_to_move_what_is_old(tmp_path: Path) -> None:
    name = f"told-{buckets.RUN}"
    bucket = await buckets.bucket("moto", prefix=tmp_path.name, name=name)
    await bucket.close()
    url = buckets.url("moto", prefix=tmp_path.name, name=name, cold_class="STANDARD_IA")
    originals = f"originals ({buckets.RUN}/{tmp_path.name}/raw/)"
    settings = {"APPLIANCE_STORAGE_URL": url, **buckets.environ("moto")}
    command = ("storage", "lifecycle", "--apply")
    for title, more in (
        ("Would be installed", ("--dry-run",)),
        ("Installed as", ()),
        ("Installed already", ()),
    ):
        out, _ = await run(tmp_path, *command, *more, **settings)
        assert out.startswith(title)
        assert f"{originals} to STANDARD_IA after 30 days" in out
        assert "No rule deletes a file" in out
    out, _ = await run(tmp_path, "check", **settings)
    assert f"own rules move {originals} to STANDARD_IA after 30 days.\n" in out
    out, _ = await run(tmp_path, "check", APPLIANCE_COLD_AFTER_DAYS="60", **settings)
    assert f"The settings say {originals} to STANDARD_IA after 60 days" in out
    out, _ = await run(tmp_path, "check", APPLIANCE_COLD_AFTER_DAYS="0", **settings)
    assert "The settings say that they stay" in out
    with sqlite3.connect(tmp_path / "appliance.db") as database:
        acts = database.execute("SELECT subject FROM audit WHERE action = 'storage.rules'")
        assert len(acts.fetchall()) == 1


async def test_another_class_is_told_and_set(tmp_path: Path) -> None:
    settings, bucket = await _bucket_of_its_own(tmp_path, "class")
    await bucket.own_rules.install(bucket.own_rules.wanted(30))
    await bucket.close()
    settings["APPLIANCE_STORAGE_URL"] += "&cold_class=GLACIER_IR"
    out, _ = await run(tmp_path, "check", **settings)
    assert "to STANDARD_IA after 30 days. The settings say originals" in out
    assert "to GLACIER_IR after 30 days: `appliance" in out
    out, _ = await run(tmp_path, "storage", "lifecycle", "--apply", **settings)
    assert out.startswith("Installed as")
    assert re.search("to GLACIER_IR after 30 days(.|\n)*In the place of:(.|\n)*STANDARD_IA", out)
    out, _ = await run(tmp_path, "storage", "lifecycle", "--apply", "--json", **settings)
    told = json.loads(out)
    assert told["before"] == told["rules"]
    assert told["rules"]["coldClass"] == "GLACIER_IR"


async def test_a_rule_of_others_that_deletes_is_told_by_check_too(tmp_path: Path) -> None:
    settings, bucket = await _bucket_of_its_own(tmp_path, "deleting")
    rule = (
        b"<LifecycleConfiguration><Rule><ID>thirty</ID><Filter><Prefix></Prefix></Filter>"
        b"<Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule>"
        b"</LifecycleConfiguration>"
    )
    await bucket.ask("PUT", None, {"lifecycle": ""}, body=Given(rule))
    await bucket.close()
    out, _ = await run(tmp_path, "check", **settings)
    assert "a rule of somebody else that deletes files of the appliance (thirty)" in out


async def test_what_cannot_be_audited_is_not_done(tmp_path: Path) -> None:
    settings, bucket = await _bucket_of_its_own(tmp_path, "unaudited")
    (tmp_path / "appliance.db").mkdir()
    try:
        _, err = await run(tmp_path, "storage", "lifecycle", "--apply", expect=2, **settings)
        assert "database" in err
        assert await bucket.own_rules.installed() is None
    finally:
        await bucket.close()


async def _bucket_of_its_own(tmp_path: Path, name: str) -> tuple[dict[str, str], S3Bucket]:
    """With its settings, but for a class; all rules of a bucket are one document."""
    name = f"{name}-{buckets.RUN}"
    bucket = await buckets.bucket("moto", prefix=tmp_path.name, name=name, cold_class="STANDARD_IA")
    assert isinstance(bucket, S3Bucket)
    url = buckets.url("moto", prefix=tmp_path.name, name=name)
    return {"APPLIANCE_STORAGE_URL": url, **buckets.environ("moto")}, bucket


async def test_what_can_have_no_rules_refuses_them(tmp_path: Path) -> None:
    command = ("storage", "lifecycle", "--apply")
    _, err = await run(tmp_path, *command, expect=2)
    assert "a directory" in err
    url = buckets.url("moto", prefix=tmp_path.name, cold_class="STANDARD_IA")
    bucket = {"APPLIANCE_STORAGE_URL": url, **buckets.environ("moto")}
    cold = {"APPLIANCE_COLD_STORAGE_URL": f"file://{tmp_path}/cold"}
    _, err = await run(tmp_path, *command, expect=2, **bucket, **cold)
    assert "another place" in err
    _, err = await run(tmp_path, *command, expect=2, APPLIANCE_COLD_AFTER_DAYS="7", **bucket)
    assert "Set 30 or more" in err
    await (await buckets.bucket("swift", prefix=tmp_path.name)).close()
    swift = {"APPLIANCE_STORAGE_URL": buckets.url("swift", prefix=tmp_path.name)}
    _, err = await run(tmp_path, *command, expect=2, **swift, **buckets.environ("swift"))
    assert "Not every store knows such rules" in err


def _backdate(data_dir: Path, job_id: str) -> None:
    """As if it had come long ago: ids tell the time."""
    old = first_id_at(1_700_000_000.0)[:10] + job_id[10:]
    with sqlite3.connect(data_dir / "appliance.db") as database:
        database.execute("PRAGMA foreign_keys=OFF")
        database.create_function("lowered", 1, str.lower)
        database.execute("UPDATE uploads SET id = ? WHERE id = ?", (old, job_id))
        database.execute("UPDATE jobs SET upload_id = ? WHERE upload_id = ?", (old, job_id))
