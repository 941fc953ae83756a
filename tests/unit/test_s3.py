"""What can be known of S3 without a server: signatures, credentials, and the meaning of answers."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from appliance.errors import (
    ApplianceError,
    ConfigurationError,
    ObjectDamaged,
    ObjectMissing,
    StorageFull,
    StorageRefused,
    StorageUnavailable,
)
from appliance.storage.buckets import s3_answers, s3_faults
from appliance.storage.buckets.requests import Answer, ClockDiffers, OutOfRange, Request, TryAgain
from appliance.storage.buckets.s3_credentials import CredentialSource
from appliance.storage.buckets.signature import EMPTY_SHA256, Credentials, Signer, encoded_path

# The examples of AWS's documentation (sig-v4-header-based-auth, sigv4-query-string-auth).
HOST = "examplebucket.s3.amazonaws.com"
SIGNER = Signer(
    Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), "us-east-1"
)
MAY_24 = 1369353600.0


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "body", "signature"),
    [
        ("GET", "/test.txt", {}, {"Range": "bytes=0-9"}, b"",
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        ("PUT", "/test$file.text", {}, {"Date": "Fri, 24 May 2013 00:00:00 GMT",
         "x-amz-storage-class": "REDUCED_REDUNDANCY"}, b"Welcome to Amazon S3.",
         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        ("GET", "/", {"lifecycle": ""}, {}, b"",
         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("GET", "/", {"prefix": "J", "max-keys": "2"}, {}, b"",
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)  # fmt: skip
def test_signatures_are_those_of_the_documentation(
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes,
    signature: str,
) -> None:
    sha256 = hashlib.sha256(body).hexdigest()
    signed = SIGNER.headers(
        method, HOST, encoded_path(path), query, headers, sha256=sha256, now=MAY_24
    )
    assert signed["authorization"].endswith(f"Signature={signature}")


def test_presigned_links_are_those_of_the_documentation() -> None:
    query = SIGNER.presigned_query(HOST, "/test.txt", {}, expires_s=86400, now=MAY_24)
    assert query.endswith(
        "X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_a_session_token_is_signed_too() -> None:
    signer = Signer(Credentials("key", "secret", "token"), "eu-central-1")
    signed = signer.headers("GET", HOST, "/", {}, {}, sha256=EMPTY_SHA256, now=MAY_24)
    assert signed["x-amz-security-token"] == "token"
    assert "x-amz-security-token" in signed["authorization"]
    assert "secret" not in repr(signer)
    assert "token" not in repr(signer)


def fault(status: int, body: str = "", **headers: str) -> ApplianceError:
    request = Request("GET", URL("https://s3.example.org/files/raw/A/b"), {})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return s3_faults.fault("s3://files", request, Answer(status, named, body.encode()))


@pytest.mark.parametrize(
    ("status", "code", "kind", "told"),
    [
        (404, "NoSuchBucket", StorageRefused, "no such bucket. Make it"),
        (403, "InvalidAccessKeyId", StorageRefused, "Mend AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", StorageRefused, "the secret does not fit"),
        (403, "AccessDenied", StorageRefused, "Allow it to list"),
        (403, "", StorageRefused, "access is denied (403)"),
        (400, "ExpiredToken", StorageRefused, "AWS_SESSION_TOKEN"),
        (400, "MalformedXML", StorageRefused, "MalformedXML"),
        (404, "NoSuchKey", ObjectMissing, "is not in the store"),
        (404, "", ObjectMissing, "is not in the store"),
        (404, "NoSuchLifecycleConfiguration", ObjectMissing, ""),
        (412, "PreconditionFailed", ObjectDamaged, "was changed"),
        (416, "InvalidRange", OutOfRange, ""),
        (403, "QuotaExceeded", StorageFull, "no room left"),
        (507, "", StorageFull, "no room left"),
        (503, "SlowDown", TryAgain, "503 SlowDown"),
        (500, "", TryAgain, "500"),
        (501, "NotImplemented", StorageRefused, "has no such thing"),
        (429, "", TryAgain, "429"),
        (400, "XAmzContentSHA256Mismatch", TryAgain, "400"),
        (403, "RequestTimeTooSkewed", ClockDiffers, "by NTP"),
    ],
)
def test_each_answer_has_its_meaning(
    status: int, code: str, kind: type[ApplianceError], told: str
) -> None:
    body = f"<Error><Code>{code}</Code><Message>words</Message></Error>" if code else ""
    found = fault(status, body)
    assert type(found) is kind
    assert told in found.detail


def test_the_right_region_is_told_by_what_the_store_says_of_it() -> None:
    body = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>"
    assert "region=eu-west-1" in fault(400, body).detail
    assert "region=eu-west-2" in fault(301, x_amz_bucket_region="eu-west-2").detail


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Error><Code>&b;</Code></Error>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd"><Error/>'.encode("utf-16"),
        b"<html>",
        b"\xff",
        b"",
    ],
)
def test_what_is_no_answer_of_s3_is_not_parsed(body: bytes) -> None:
    with pytest.raises(StorageRefused, match="no S3 answer"):
        s3_answers.parsed(body)


async def test_keys_come_from_the_environment() -> None:
    source = CredentialSource({"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"})
    assert await source.current(time.time()) == Credentials("key", "secret", None)
    with pytest.raises(ConfigurationError, match="set both"):
        CredentialSource({"AWS_ACCESS_KEY_ID": "key"})


@pytest.fixture
async def cloud(unused_tcp_port: int):  # type: ignore[no-untyped-def]
    """The metadata services of EC2 and of containers; `asked` counts."""
    role = {"asked": 0, "lasts_s": 3600.0}

    def given() -> web.Response:
        role["asked"] += 1
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + role["lasts_s"]))
        return web.json_response(
            {
                "AccessKeyId": f"key{role['asked']:.0f}",
                "SecretAccessKey": "secret",
                "Token": "token",
                "Expiration": until,
            }
        )

    async def answer(request: web.Request) -> web.Response:
        if request.method == "PUT":
            return web.Response(text="pass")
        if request.path == "/container":
            assert request.headers["Authorization"] == "Bearer pod"
            return given()
        assert request.headers["X-aws-ec2-metadata-token"] == "pass"
        if request.path.endswith("/security-credentials/"):
            return web.Response(text="the-role")
        assert request.path.endswith("/the-role")
        return given()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    yield f"http://127.0.0.1:{unused_tcp_port}", role
    await runner.cleanup()


async def test_a_machine_of_ec2_has_those_of_its_role(cloud: tuple[str, dict[str, float]]) -> None:
    url, role = cloud
    source = CredentialSource({"AWS_EC2_METADATA_SERVICE_ENDPOINT": url})
    assert await source.current(time.time()) == Credentials("key1", "secret", "token")
    assert await source.current(time.time()) == Credentials("key1", "secret", "token")
    role["lasts_s"] = 10.0
    source = CredentialSource({"AWS_EC2_METADATA_SERVICE_ENDPOINT": url})
    assert (await source.current(time.time())).access_key == "key2"
    assert (
        await source.current(time.time())
    ).access_key == "key3"  # the others are about to expire


async def test_a_container_is_told_where_to_ask(
    cloud: tuple[str, dict[str, float]], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("Bearer pod")
    source = CredentialSource(
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{cloud[0]}/container",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"),
        }
    )
    assert (await source.current(time.time())).access_key == "key1"


async def test_without_keys_and_role_the_mend_is_told(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(StorageUnavailable, match="set AWS_ACCESS_KEY_ID"):
        await CredentialSource({"AWS_EC2_METADATA_SERVICE_ENDPOINT": url}).current(time.time())
