"""Links into Google Cloud Storage: no emulator looks at a signature, so it is looked at here."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from appliance.parts import open_bucket
from appliance.storage.buckets.gcs_links import link_signer, string_to_sign, unsigned_query
from appliance.store_urls import parse_bucket_url
from tests.clocks import MovedClock

EMAIL = "test-iam-credentials@dummy-project-id.iam.gserviceaccount.com"
FEBRUARY_1 = 1549011600.0


def test_what_is_signed_is_that_of_google_s_conformance_tests() -> None:
    """`v4_signatures.json` of googleapis/conformance-tests: "Virtual Hosted Style"."""
    stamp = "20190201T090000Z"
    query = unsigned_query(EMAIL, {}, expires_s=10, stamp=stamp)
    host = "test-bucket.storage.googleapis.com"
    assert string_to_sign(host, "/test-object", query, stamp=stamp) == (
        "GOOG4-RSA-SHA256\n20190201T090000Z\n20190201/auto/storage/goog4_request\n"
        "89eeae48258eccdcb1f592fb908008e3f5d36a949c002c1e614c94356dc18fc6"
    )


async def test_a_link_is_signed_with_the_key_of_the_service_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = rsa.generate_private_key(65537, 2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {"type": "service_account", "client_email": EMAIL, "private_key": pem.decode()}
    (tmp_path / "key.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    clock = MovedClock()
    clock.moved_to(FEBRUARY_1 - 30)
    bucket = open_bucket(parse_bucket_url("gs://test-bucket/a b"), {}, clock=clock)
    bucket.clock.skew_s = 30  # the link is good by Google's clock
    try:
        link = await bucket.presigned(
            "raw/01JD/käse & 50%.png",
            expires_s=60,
            content_type="image/png",
            disposition="attachment; filename*=UTF-8''k%C3%A4se.png",
        )
    finally:
        await bucket.close()
    assert link is not None
    signed, _, signature = link.partition("&X-Goog-Signature=")
    asked = (
        f"X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential={quote(EMAIL)}%2F20190201%2Fauto"
        "%2Fstorage%2Fgoog4_request&X-Goog-Date=20190201T090000Z&X-Goog-Expires=60"
        "&X-Goog-SignedHeaders=host"
        "&response-content-disposition=attachment%3B%20filename%2A%3DUTF-8%27%27k%25C3%25A4se.png"
        "&response-content-type=image%2Fpng"
    )
    path = "/test-bucket/a%20b/raw/01JD/k%C3%A4se%20%26%2050%25.png"
    assert signed == f"https://storage.googleapis.com{path}?{asked}"
    canonical = f"GET\n{path}\n{asked}\nhost:storage.googleapis.com\n\nhost\nUNSIGNED-PAYLOAD"
    to_sign = (
        "GOOG4-RSA-SHA256\n20190201T090000Z\n20190201/auto/storage/goog4_request\n"
        + hashlib.sha256(canonical.encode()).hexdigest()
    )
    private.public_key().verify(bytes.fromhex(signature), to_sign.encode(), PKCS1v15(), SHA256())


@pytest.mark.parametrize("account", [{}, {"type": "authorized_user", "client_id": "x"}])
def test_without_a_private_key_there_are_no_links(account: dict[str, str]) -> None:
    assert link_signer(account) is None
