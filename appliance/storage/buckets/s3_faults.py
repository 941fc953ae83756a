"""What S3 answers when it does not do what was asked, and what can be done about it.

The codes are AWS's; other servers use the same ones for what people can mend.
Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

from appliance.errors import (
    ApplianceError,
    ObjectDamaged,
    ObjectMissing,
    StorageFull,
    StorageRefused,
)
from appliance.storage.buckets.requests import Answer, ClockDiffers, OutOfRange, Request, TryAgain
from appliance.storage.buckets.s3_answers import parsed

_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_MENDS = {
    "NoSuchBucket": "there is no such bucket. Make it, or mend its name in the URL",
    "InvalidAccessKeyId": f"the access key is not known there. Mend {_KEYS}",
    "SignatureDoesNotMatch": f"the secret does not fit the access key. Mend {_KEYS}",
    "ExpiredToken": "the session token has expired. Set a new AWS_SESSION_TOKEN, with its keys",
    "InvalidToken": "the session token is not valid. Mend AWS_SESSION_TOKEN",
    "AccessDenied": "the key may not do that there. Allow it to list the bucket, and to get, put "
    "and delete objects in it",
    "AllAccessDisabled": "the bucket is closed to everybody. Ask whoever runs the store",
    "InvalidStorageClass": "it has no such storage class. Set cold_class=none in the URL",
    "InvalidBucketName": "that is no name for a bucket. Mend the URL",
}
_ELSEWHERE = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}
_AGAIN = {
    "SlowDown",
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
    "OperationAborted",
    # The body arrived with another digest than it was signed with:
    "XAmzContentSHA256Mismatch",
    "BadDigest",
    "IncompleteBody",
}
_FULL = {"QuotaExceeded", "XMinioStorageFull", "EntityTooLarge", "InsufficientStorage"}
_MISSING = {"NoSuchKey", "NoSuchVersion", "NoSuchUpload", "NoSuchLifecycleConfiguration"}
OUT_OF_DATE = "RequestTimeTooSkewed"


def code_of(answer: Answer) -> tuple[str, str, str]:
    """Its code, its message and the region it names; empty where it says nothing."""
    try:
        error = parsed(answer.body)
    except StorageRefused:
        return "", "", ""
    return (
        error.findtext("{*}Code", ""),
        error.findtext("{*}Message", ""),
        error.findtext("{*}Region", ""),
    )


def fault(subject: str, request: Request, answer: Answer) -> ApplianceError:
    code, message, region = code_of(answer)
    status = answer.status
    if code in _MISSING or (status == 404 and not code):
        return ObjectMissing(f"{request.url.path} is not in the store.")
    if status == 412:
        return ObjectDamaged("A file in the store was changed while it was being read.")
    if status == 416:
        return OutOfRange()
    if code in _FULL or status == 507:
        return StorageFull(f"{subject} has no room left ({code or status}).")
    if code == OUT_OF_DATE:
        return ClockDiffers(
            f"{subject}: its clock and that of this machine differ by too much ({code}). Set them, "
            "as by NTP."
        )
    if status == 501:
        return StorageRefused(f"{subject} has no such thing ({code or status}).")
    if code in _AGAIN or status >= 500 or status in (408, 429):
        return TryAgain(f"{subject} answers {status} {code}".rstrip() + ".")
    if code in _ELSEWHERE or status in (301, 307):
        region = region or answer.headers.get("x-amz-bucket-region", "")
        where = f"region={region}" if region else "its own region"
        return StorageRefused(
            f"{subject}: the bucket is in another region. Set {where} in the URL."
        )
    if code in _MENDS:
        return StorageRefused(f"{subject}: {_MENDS[code]} ({code}).")
    if status in (401, 403):
        return StorageRefused(f"{subject}: access is denied ({status}). Mend {_KEYS}.")
    said = f"{code}: {message}" if code else f"status {status}"
    return StorageRefused(f"{subject} does not do what was asked ({said}).")
