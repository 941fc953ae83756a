"""What Google Cloud Storage answers when it does not do what was asked.

Source: https://cloud.google.com/storage/docs/json_api/v1/status-codes
"""

from __future__ import annotations

import msgspec

from appliance.errors import ApplianceError, ObjectDamaged, ObjectMissing, StorageRefused
from appliance.storage.buckets.requests import Answer, OutOfRange, Request, TryAgain


class _Error(msgspec.Struct):
    message: str = ""


class _Document(msgspec.Struct):
    error: _Error


def fault(subject: str, request: Request, answer: Answer) -> ApplianceError:
    status = answer.status
    if status == 404 and "/o/" not in request.url.path:
        return StorageRefused(
            f"{subject}: there is no such bucket. Make it, or mend its name in the URL."
        )
    if status == 404:
        return ObjectMissing(f"{request.url.path} is not in the store.")
    if status == 412:
        return ObjectDamaged("A file in the store was changed while it was being read.")
    if status == 416:
        return OutOfRange()
    if status >= 500 or status in (408, 429):
        return TryAgain(f"{subject} answers {status}.")
    if status in (401, 403):
        return StorageRefused(
            f"{subject}: access is denied ({status}). Give the service account the role Storage "
            f"Object User on the bucket. {_said(answer)}".rstrip()
        )
    return StorageRefused(f"{subject} does not do what was asked ({status}). {_said(answer)}")


def _said(answer: Answer) -> str:
    try:
        return msgspec.json.decode(answer.body, type=_Document).error.message[:200]
    except msgspec.MsgspecError:
        return ""
