"""Lifecycle rules of a bucket: ours among those of others (moto, the emulator of GCS; Swift has
none)."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import msgspec
import pytest

from appliance.errors import ConfigurationError, StorageRefused
from appliance.storage.buckets.gcs import GcsBucket
from appliance.storage.buckets.s3 import S3Bucket
from appliance.storage.own_rules import Cooling, Rules
from appliance.storage.spool import Given
from tests import buckets

OTHERS = b"""<LifecycleConfiguration>
<Rule><ID>older</ID><Prefix>old/</Prefix><Status>Enabled</Status>
<Expiration><Days>3</Days></Expiration></Rule>
<Rule><ID>tagged</ID><Filter><And><Prefix>%s</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And>
</Filter><Status>Enabled</Status><Expiration><Days>9</Days></Expiration></Rule>
</LifecycleConfiguration>"""


async def s3_bucket(tmp_path: Path, **options: str) -> S3Bucket:
    """One of our own: all rules of a bucket are one document."""
    options = {"cold_class": "STANDARD_IA", "name": f"rules-{buckets.RUN}", **options}
    found = await buckets.bucket("moto", prefix=tmp_path.name, **options)
    assert isinstance(found, S3Bucket)
    return found


async def rules_there(bucket: S3Bucket) -> dict[str, str]:
    """The document of each rule by its id."""
    found = fromstring((await bucket.ask("GET", None, {"lifecycle": ""})).body)
    return {
        rule.findtext("{*}ID", ""): "".join(rule.itertext()) for rule in found.iterfind("{*}Rule")
    }


async def test_rules_of_s3_are_set_beside_those_of_others(tmp_path: Path) -> None:
    bucket, beside = await s3_bucket(tmp_path), await s3_bucket(tmp_path / "beside")
    prefix = f"{buckets.RUN}/{tmp_path.name}/"
    try:
        await bucket.ask("DELETE", None, {"lifecycle": ""})
        assert await bucket.own_rules.installed() is None
        others = Given(OTHERS % prefix.encode())
        await bucket.ask("PUT", None, {"lifecycle": ""}, body=others)
        rules = bucket.own_rules.wanted(45)
        await beside.own_rules.install(rules)
        for _ in range(2):
            await bucket.own_rules.install(rules)
            assert await bucket.own_rules.installed() == rules
        assert rules == Rules(Cooling(45, "STANDARD_IA", f"{prefix}raw/"), 7)
        there = await rules_there(bucket)
        assert len(there) == 6
        assert "old/" in there["older"]
        assert all(said in there["tagged"] for said in (prefix, "k", "v", "Enabled", "9"))
        ours = there[f"upload-appliance:cold:{prefix}"]
        assert ours.endswith(f"{prefix}raw/Enabled45STANDARD_IA")
        assert await bucket.own_rules.deleting() == ["tagged"]
        assert not any("Expiration" in text for id, text in there.items() if "appliance" in id)
        await bucket.own_rules.install(bucket.own_rules.wanted(0))
        assert await bucket.own_rules.installed() == Rules(None, 7)
        assert await beside.own_rules.installed() == rules
    finally:
        await bucket.close()
        await beside.close()


async def test_rules_of_s3_are_read_as_they_stand_there(tmp_path: Path) -> None:
    """Ours are known by their ids, whatever has become of them."""
    bucket = await s3_bucket(tmp_path)
    glacier = await s3_bucket(tmp_path, cold_class="GLACIER_IR")
    prefix = f"{buckets.RUN}/{tmp_path.name}/"
    try:
        await bucket.own_rules.install(bucket.own_rules.wanted(30))
        assert await glacier.own_rules.installed() == bucket.own_rules.wanted(30)
        await glacier.own_rules.install(glacier.own_rules.wanted(30))
        rules = await bucket.own_rules.installed()
        assert rules == Rules(Cooling(30, "GLACIER_IR", f"{prefix}raw/"), 7)
        document = (await bucket.ask("GET", None, {"lifecycle": ""})).body
        elsewhere = document.replace(f"<Prefix>{prefix}".encode(), b"<Prefix>elsewhere/")
        assert elsewhere != document
        await bucket.ask("PUT", None, {"lifecycle": ""}, body=Given(elsewhere))
        rules = await bucket.own_rules.installed()
        assert rules == Rules(Cooling(30, "GLACIER_IR", "elsewhere/raw/"), 0)
    finally:
        await bucket.close()
        await glacier.close()


async def test_what_the_bucket_has_moved_is_not_copied_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = await s3_bucket(tmp_path)
    asked = []
    try:
        await bucket.put("raw/01JD/a.txt", Given(b"old"))
        await bucket.make_cold("raw/01JD/a.txt")  # stands for the bucket's own move
        ask = bucket.ask

        async def told(method: str, *arguments: Any, **options: Any) -> Any:
            asked.append(method)
            return await ask(method, *arguments, **options)

        monkeypatch.setattr(bucket, "ask", told)
        await bucket.make_cold("raw/01JD/a.txt")
        assert asked == ["GET"]
    finally:
        await bucket.close()


async def test_too_young_for_the_class_is_refused_beforehand(tmp_path: Path) -> None:
    bucket = await s3_bucket(tmp_path)
    glacier = await s3_bucket(tmp_path, cold_class="GLACIER_IR")
    try:
        with pytest.raises(ConfigurationError, match="younger than 30 days"):
            bucket.own_rules.wanted(29)
        originals = f"{buckets.RUN}/{tmp_path.name}/raw/"
        assert glacier.own_rules.wanted(1) == Rules(Cooling(1, "GLACIER_IR", originals), 7)
    finally:
        await bucket.close()
        await glacier.close()


async def test_rules_of_gcs_are_set_beside_those_of_others(tmp_path: Path) -> None:
    bucket = await buckets.bucket("gcs", prefix=tmp_path.name, cold_class="NEARLINE")
    assert isinstance(bucket, GcsBucket)
    other = {"action": {"type": "Delete"}, "condition": {"age": 9, "matchesPrefix": ["old/"]}}
    ours = f"{buckets.RUN}/{tmp_path.name}/raw/"
    try:
        body = Given(msgspec.json.encode({"lifecycle": {"rule": [other]}}))
        await bucket.ask("PATCH", bucket.bucket_url({}), body=body)
        assert await bucket.own_rules.installed() is None
        for days in (30, 30, 60):
            await bucket.own_rules.install(bucket.own_rules.wanted(days))
            assert await bucket.own_rules.installed() == Rules(Cooling(days, "NEARLINE", ours))
        found = msgspec.json.decode((await bucket.ask("GET", bucket.bucket_url({}))).body)
        assert found["lifecycle"]["rule"] == [
            other,
            {
                "action": {"type": "SetStorageClass", "storageClass": "NEARLINE"},
                "condition": {"age": 60, "matchesPrefix": [ours]},
            },
        ]
        assert await bucket.own_rules.deleting() == []
        body = Given(msgspec.json.encode(found).replace(b"NEARLINE", b"ARCHIVE"))
        await bucket.ask("PATCH", bucket.bucket_url({}), body=body)
        assert await bucket.own_rules.installed() == Rules(Cooling(60, "ARCHIVE", ours))
        spared = {"action": {"type": "Delete"}, "condition": {"numNewerVersions": 3}}
        all_of_it = {"action": {"type": "Delete"}, "condition": {"age": 400}}
        body = Given(msgspec.json.encode({"lifecycle": {"rule": [spared, all_of_it]}}))
        await bucket.ask("PATCH", bucket.bucket_url({}), body=body)
        assert await bucket.own_rules.deleting() == ["a rule that deletes after 400 days"]
        await bucket.own_rules.install(bucket.own_rules.wanted(0))
        assert await bucket.own_rules.installed() is None
    finally:
        await bucket.ask("PATCH", bucket.bucket_url({}), body=Given(b'{"lifecycle": {"rule": []}}'))
        await bucket.close()


async def test_a_store_without_rules_refuses_at_once(tmp_path: Path) -> None:
    bucket = await buckets.bucket("swift", prefix=tmp_path.name)
    try:
        assert await bucket.own_rules.installed() is None
        with pytest.raises(StorageRefused, match="does not do what was asked"):
            await bucket.own_rules.install(bucket.own_rules.wanted(30))
    finally:
        await bucket.close()
