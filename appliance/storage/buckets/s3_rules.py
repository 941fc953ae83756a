"""Lifecycle rules of a bucket on S3: ours among those of others.

A bucket has one document with all rules, which is replaced as a whole; so what others have set is
read and written back. Ours are known by their ids, which name the prefix: several appliances may
share a bucket.
Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING, NamedTuple

from appliance.errors import ConfigurationError, ObjectMissing
from appliance.storage.buckets.s3_answers import Element, SubElement, parsed, tostring
from appliance.storage.own_rules import ORIGINALS, Cooling, Rules, is_about_us
from appliance.storage.spool import Given

if TYPE_CHECKING:
    from appliance.storage.buckets.s3 import S3Bucket

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
LEAST_DAYS = {"STANDARD_IA": 30, "ONEZONE_IA": 30}
"""Before, AWS moves nothing to these classes."""
ABANDONED_DAYS = 7
SMALLEST = "x-amz-transition-default-minimum-object-size"
"""A setting of the bucket that stands in the head, and is lost when it is not sent back."""


class _Found(NamedTuple):
    rules: list[Element]
    """Those of others too, without namespaces."""
    smallest: str | None


class S3Rules:
    def __init__(self, bucket: S3Bucket, prefix: str, cold_class: str | None) -> None:
        """`prefix` ends with a slash, or is empty."""
        self._bucket = bucket
        self._prefix = prefix
        self.subject = bucket.name
        self.cold_class = cold_class
        self.originals = prefix + ORIGINALS
        self._cold_id = f"upload-appliance:cold:{prefix}"
        self._abandoned_id = f"upload-appliance:abandoned:{prefix}"

    def wanted(self, cold_after_days: int) -> Rules:
        if self.cold_class is None or not cold_after_days:
            return Rules(None, ABANDONED_DAYS)
        least = LEAST_DAYS.get(self.cold_class, 0)
        if cold_after_days < least:
            raise ConfigurationError(
                [
                    f"APPLIANCE_COLD_AFTER_DAYS: the store moves nothing to {self.cold_class} that "
                    f"is younger than {least} days. Set {least} or more, or leave it to the "
                    "appliance, which does."
                ]
            )
        return Rules(Cooling(cold_after_days, self.cold_class, self.originals), ABANDONED_DAYS)

    async def installed(self) -> Rules | None:
        found = await self._read()
        by_id = {rule.findtext("ID"): rule for rule in found.rules if _is_enabled(rule)}
        cold, abandoned = by_id.get(self._cold_id), by_id.get(self._abandoned_id)
        if cold is None and abandoned is None:
            return None
        abandoned_days = 0
        if abandoned is not None and _prefix_of(abandoned) == self._prefix:
            abandoned_days = _days(abandoned, "AbortIncompleteMultipartUpload/DaysAfterInitiation")
        return Rules(None if cold is None else _cooling(cold), abandoned_days)

    async def deleting(self) -> list[str]:
        return [
            rule.findtext("ID") or "a rule without a name"
            for rule in (await self._read()).rules
            if _is_enabled(rule)
            and any(rule.find(f"Expiration/{when}") is not None for when in ("Days", "Date"))
            and is_about_us(_prefix_of(rule), self._prefix)
        ]

    async def install(self, rules: Rules) -> None:
        found = await self._read()
        document = Element("LifecycleConfiguration", xmlns=NAMESPACE)
        ours = (self._cold_id, self._abandoned_id)
        document.extend(_renewed(rule) for rule in found.rules if rule.findtext("ID") not in ours)
        if rules.cooling is not None:
            rule = _new_rule(document, self._cold_id, rules.cooling.prefix)
            does = SubElement(rule, "Transition")
            SubElement(does, "Days").text = str(rules.cooling.after_days)
            SubElement(does, "StorageClass").text = rules.cooling.storage_class
        rule = _new_rule(document, self._abandoned_id, self._prefix)
        does = SubElement(rule, "AbortIncompleteMultipartUpload")
        SubElement(does, "DaysAfterInitiation").text = str(rules.abandoned_after_days)
        body = tostring(document, encoding="utf-8")
        md5 = hashlib.md5(body, usedforsecurity=False).digest()
        headers = {"content-md5": b64encode(md5).decode()}
        if found.smallest is not None:
            headers[SMALLEST] = found.smallest
        await self._bucket.ask("PUT", None, {"lifecycle": ""}, headers=headers, body=Given(body))

    async def _read(self) -> _Found:
        try:
            answer = await self._bucket.ask("GET", None, {"lifecycle": ""})
        except ObjectMissing:
            return _Found([], None)
        found = parsed(answer.body)
        for element in found.iter():
            element.tag = element.tag.rpartition("}")[2]
        return _Found(found.findall("Rule"), answer.headers.get(SMALLEST))


def _new_rule(document: Element, rule_id: str, prefix: str) -> Element:
    rule = SubElement(document, "Rule")
    SubElement(rule, "ID").text = rule_id
    SubElement(SubElement(rule, "Filter"), "Prefix").text = prefix
    SubElement(rule, "Status").text = "Enabled"
    return rule


def _is_enabled(rule: Element) -> bool:
    return rule.findtext("Status") == "Enabled"


def _prefix_of(rule: Element) -> str:
    paths = ("Prefix", "Filter/Prefix", "Filter/And/Prefix")
    return next((found for path in paths if (found := rule.findtext(path))), "")


def _renewed(rule: Element) -> Element:
    """With a prefix in its older place as `Filter`: both kinds in one document are refused."""
    prefix = rule.find("Prefix")
    if prefix is not None:
        rule.remove(prefix)
        SubElement(rule, "Filter").append(prefix)
    return rule


def _cooling(rule: Element) -> Cooling:
    storage_class = rule.findtext("Transition/StorageClass", "")
    return Cooling(_days(rule, "Transition/Days"), storage_class, _prefix_of(rule))


def _days(rule: Element, path: str) -> int:
    return int(rule.findtext(path, "0"))
