"""Links to objects of Google Cloud Storage that anybody may follow, signed with the private key of
a service account (V4). A machine's own account has no key here: then there are none.

Source: https://cloud.google.com/storage/docs/authentication/signatures
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from appliance.storage.buckets.signature import UNSIGNED, encoded_query, request_digest, stamp_of

ALGORITHM = "GOOG4-RSA-SHA256"


@dataclass(frozen=True)
class LinkSigner:
    email: str
    key: RSAPrivateKey = field(repr=False)

    def query(
        self, host: str, path: str, query: Mapping[str, str], *, expires_s: int, now: float
    ) -> str:
        """The query of a GET that anybody may send until then; `path` is encoded."""
        stamp = stamp_of(now)
        whole = unsigned_query(self.email, query, expires_s=expires_s, stamp=stamp)
        to_sign = string_to_sign(host, path, whole, stamp=stamp)
        signature = self.key.sign(to_sign.encode(), PKCS1v15(), SHA256())
        return f"{encoded_query(whole)}&X-Goog-Signature={signature.hex()}"


def link_signer(service_account: Mapping[str, Any]) -> LinkSigner | None:
    """Of the key file of a service account; None for one without a key."""
    pem, email = service_account.get("private_key"), service_account.get("client_email")
    if not pem or not email:
        return None
    key = load_pem_private_key(pem.encode(), None)
    return LinkSigner(email, key) if isinstance(key, RSAPrivateKey) else None


def unsigned_query(
    email: str, query: Mapping[str, str], *, expires_s: int, stamp: str
) -> Mapping[str, str]:
    return {
        **query,
        "X-Goog-Algorithm": ALGORITHM,
        "X-Goog-Credential": f"{email}/{_scope(stamp)}",
        "X-Goog-Date": stamp,
        "X-Goog-Expires": str(expires_s),
        "X-Goog-SignedHeaders": "host",
    }


def string_to_sign(host: str, path: str, query: Mapping[str, str], *, stamp: str) -> str:
    digest = request_digest("GET", path, query, {"host": host}, UNSIGNED)
    return "\n".join([ALGORITHM, stamp, _scope(stamp), digest])


def _scope(stamp: str) -> str:
    return f"{stamp[:8]}/auto/storage/goog4_request"
