"""Lifecycle rules of a bucket of Google Cloud Storage: ours among those of others.

Rules have no names there: ours is the one that changes the class of what lies below our prefix
alone. What was begun and never ended is forgotten there by itself, so that takes none.
Source: https://cloud.google.com/storage/docs/lifecycle
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from appliance.errors import StorageUnavailable
from appliance.storage.own_rules import ORIGINALS, Cooling, Rules, is_about_us
from appliance.storage.spool import Given

if TYPE_CHECKING:
    from appliance.storage.buckets.gcs import GcsBucket

Rule = Mapping[str, Any]
OF_OLD_VERSIONS = {"numNewerVersions", "daysSinceNoncurrentTime", "noncurrentTimeBefore"}
"""Conditions that no object in use meets."""


class _Found(msgspec.Struct, frozen=True):
    """Of a bucket, what is of interest here."""

    metageneration: str = ""
    lifecycle: dict[str, list[dict[str, Any]]] = {}


class GcsRules:
    def __init__(self, bucket: GcsBucket, prefix: str, cold_class: str | None) -> None:
        """`prefix` ends with a slash, or is empty."""
        self._bucket = bucket
        self._prefix = prefix
        self.subject = bucket.name
        self.cold_class = cold_class
        self.originals = prefix + ORIGINALS

    def wanted(self, cold_after_days: int) -> Rules:
        if self.cold_class is None or not cold_after_days:
            return Rules()
        return Rules(Cooling(cold_after_days, self.cold_class, self.originals))

    async def installed(self) -> Rules | None:
        for rule in (await self._read())[1]:
            if self._is_ours(rule):
                (prefix,) = rule["condition"]["matchesPrefix"]
                days = int(rule["condition"].get("age", 0))
                return Rules(Cooling(days, rule["action"]["storageClass"], prefix))
        return None

    async def deleting(self) -> list[str]:
        return [
            f"a rule that deletes after {rule['condition'].get('age', '?')} days"
            for rule in (await self._read())[1]
            if self._deletes_ours(rule)
        ]

    async def install(self, rules: Rules) -> None:
        found, known = await self._read()
        wanted = [rule for rule in known if not self._is_ours(rule)]
        if rules.cooling is not None:
            days, storage_class, prefix = rules.cooling
            wanted.append(
                {
                    "action": {"type": "SetStorageClass", "storageClass": storage_class},
                    "condition": {"age": days, "matchesPrefix": [prefix]},
                }
            )
        body = Given(msgspec.json.encode({"lifecycle": {"rule": wanted}}))
        # Refused when somebody else has changed the bucket since it was read.
        query = {"ifMetagenerationMatch": found.metageneration} if found.metageneration else {}
        await self._bucket.ask("PATCH", self._bucket.bucket_url(query), body=body)

    async def _read(self) -> tuple[_Found, list[dict[str, Any]]]:
        answer = await self._bucket.ask("GET", self._bucket.bucket_url({"projection": "noAcl"}))
        try:
            found = msgspec.json.decode(answer.body, type=_Found)
        except msgspec.MsgspecError as error:
            raise StorageUnavailable("The store answered something that is no bucket.") from error
        return found, found.lifecycle.get("rule", [])

    def _is_ours(self, rule: Rule) -> bool:
        changes_class = bool(rule["action"].get("type") == "SetStorageClass")
        prefixes = rule["condition"].get("matchesPrefix")
        return changes_class and prefixes == [self.originals]

    def _deletes_ours(self, rule: Rule) -> bool:
        condition = rule["condition"]
        if rule["action"].get("type") != "Delete" or condition.keys() & OF_OLD_VERSIONS:
            return False
        prefixes = condition.get("matchesPrefix") or [""]
        return condition.get("isLive") is not False and any(
            is_about_us(prefix, self._prefix) for prefix in prefixes
        )
