"""The URLs of buckets, and what is said of those that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.store_urls import BucketUrl, parse_bucket_url


def test_a_bucket_on_aws() -> None:
    assert parse_bucket_url("s3://files") == BucketUrl("s3", "files", cold_class="STANDARD_IA")
    assert str(parse_bucket_url("s3://files/a/b/?region=eu-central-1")) == "s3://files/a/b"
    assert parse_bucket_url("gs://files").cold_class == "NEARLINE"


def test_a_bucket_elsewhere() -> None:
    found = parse_bucket_url(
        "s3://files/a%20b?endpoint=https://minio.example.org:9000/&region=home&ca=/etc/ca.pem"
    )
    assert found == BucketUrl(
        "s3",
        "files",
        prefix="a b",
        endpoint="https://minio.example.org:9000",
        region="home",
        path_style=True,
        ca_file=Path("/etc/ca.pem"),
    )
    assert not parse_bucket_url("s3://files?endpoint=https://x&path_style=0").path_style
    assert parse_bucket_url("s3://files?endpoint=https://x&cold_class=GLACIER_IR").cold_class
    assert parse_bucket_url("s3://files?cold_class=none").cold_class is None


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3:///prefix", "name the bucket"),
        ("s3://key:secret@files", "name the bucket"),
        ("s3://files/../other", "plain names"),
        ("s3://files?endpiont=https://x", "there is no option endpiont"),
        ("gs://files?region=x", "there is no option region"),
        ("s3://files?endpoint=minio:9000", "scheme, host and port"),
        ("s3://files?endpoint=https://minio/path", "scheme, host and port"),
        ("s3://files?path_style=yes", "1 or 0"),
        ("s3://files?ca=ca.pem", "beginning with /"),
        ("s3://files?region=", "such as eu-central-1"),
        ("s3://files?cold_class=a b", "storage class"),
        ("s3://files?cold_class=GLACIER", "GLACIER_IR is as cold, and read at once"),
        ("s3://files?endpoint=https://x&cold_class=deep_archive", "GLACIER_IR"),
    ],
)
def test_what_is_wrong_is_told_with_the_mend(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_bucket_url(url)
