"""Errors as answers: what goes along with the document."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from appliance.errors import (
    ApplianceError,
    BadRequest,
    DatabaseUnavailable,
    IllegalMove,
    ShuttingDown,
    StorageFull,
    StorageUnavailable,
)
from appliance.web.problems import problem_document, problem_response


@pytest.mark.parametrize(
    ("error", "retry_after"),
    [
        (StorageFull(), "5"),
        (StorageUnavailable(), "5"),
        (DatabaseUnavailable(), "5"),
        (ShuttingDown(), "5"),
        (StorageFull(retry_after_s=60), "60"),
        (DatabaseUnavailable(retry_after_s=0.2), "1"),
        (BadRequest(retry_after_s=1.2), "2"),
        (BadRequest(), None),
        (ApplianceError(), None),
    ],
    ids=str,
)
async def test_when_to_come_back(error: ApplianceError, retry_after: str | None) -> None:
    answer = problem_response(make_mocked_request("GET", "/"), error)
    assert answer.status == error.status
    assert answer.headers.get("Retry-After") == retry_after


def test_further_members_do_not_hide_the_document_s_own() -> None:
    document = problem_document(IllegalMove("No.", jobStatus="FAILED", possible=["retry"]))
    assert (document["status"], document["jobStatus"]) == (409, "FAILED")
