"""AWS Signature Version 4: who sends a request, and that it is the very one that was meant.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html and
sigv4-query-string-auth.html, whose examples are among the tests.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256().hexdigest()


@dataclass(frozen=True)
class Credentials:
    access_key: str
    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Signer:
    credentials: Credentials
    region: str

    def headers(
        self,
        method: str,
        host: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        *,
        sha256: str,
        now: float,
    ) -> dict[str, str]:
        """`headers` and those that sign the request; `path` is encoded, `sha256` of the body."""
        stamp = stamp_of(now)
        signed = {
            **{name.lower(): value for name, value in headers.items()},
            "host": host,
            "x-amz-content-sha256": sha256,
            "x-amz-date": stamp,
        }
        if self.credentials.session_token:
            signed["x-amz-security-token"] = self.credentials.session_token
        names = ";".join(sorted(signed))
        signature = self._signature(method, path, query, signed, sha256, stamp)
        signed["authorization"] = (
            f"{ALGORITHM} Credential={self.credentials.access_key}/{self._scope(stamp)}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        del signed["host"]  # whoever sends the request writes it
        return signed

    def presigned_query(
        self, host: str, path: str, query: Mapping[str, str], *, expires_s: int, now: float
    ) -> str:
        """The query of a GET that anybody may send until then."""
        stamp = stamp_of(now)
        whole = {
            **query,
            "X-Amz-Algorithm": ALGORITHM,
            "X-Amz-Credential": f"{self.credentials.access_key}/{self._scope(stamp)}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(expires_s),
            "X-Amz-SignedHeaders": "host",
        }
        if self.credentials.session_token:
            whole["X-Amz-Security-Token"] = self.credentials.session_token
        signature = self._signature("GET", path, whole, {"host": host}, UNSIGNED, stamp)
        return f"{encoded_query(whole)}&X-Amz-Signature={signature}"

    def _scope(self, stamp: str) -> str:
        return f"{stamp[:8]}/{self.region}/s3/aws4_request"

    def _signature(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        sha256: str,
        stamp: str,
    ) -> str:
        digest = request_digest(method, path, query, headers, sha256)
        to_sign = "\n".join([ALGORITHM, stamp, self._scope(stamp), digest])
        key = f"AWS4{self.credentials.secret}".encode()
        for part in (stamp[:8], self.region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, to_sign.encode(), "sha256").hex()


def request_digest(
    method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], sha256: str
) -> str:
    """Of all that makes it the request that is meant, in hexadecimal; Google's is the same."""
    names = sorted(headers)
    canonical = "\n".join(
        [
            method,
            path,
            encoded_query(query),
            *(f"{name}:{' '.join(headers[name].split())}" for name in names),
            "",
            ";".join(names),
            sha256,
        ]
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def encoded_path(path: str) -> str:
    """Every byte but the unreserved ones and `/`, once."""
    return quote(path, safe="/~")


def encoded_query(query: Mapping[str, str]) -> str:
    """Sorted, as it is signed and sent."""
    pairs = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def stamp_of(now: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
