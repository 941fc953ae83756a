"""What schemathesis is told beside the contract (`SCHEMATHESIS_HOOKS`).

A made-up id is of nothing, so two calls out of three get one of something that is there: they are
in `APPLIANCE_TEST_IDS`, JSON, by the part of the path.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any

import schemathesis

IDS: dict[str, list[str]] = json.loads(os.environ["APPLIANCE_TEST_IDS"])
CHANCE = random.Random(os.environ["APPLIANCE_TEST_SEED"])

for media_type in ("application/offset+octet-stream", "application/partial-upload"):
    schemathesis.serializer.alias(media_type, "application/octet-stream")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    for name in IDS.keys() & (case.path_parameters or {}).keys():
        # Of keys always: schemathesis remembers ids from answers, and would revoke its own.
        if name == "key_id" or CHANCE.randrange(3):
            case.path_parameters[name] = CHANCE.choice(IDS[name])
    if case.headers is not None:
        # A 104 comes ahead of the answer then, which `requests` takes for the answer.
        case.headers.pop("Upload-Draft-Interop-Version", None)
