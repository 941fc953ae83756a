"""The OpenAPI document, made of the table of routes, the errors, the types of the documents, and
what is said of each operation beside this module.

Sources: https://spec.openapis.org/oas/v3.1.1.html, RFC 9457
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

import appliance
from appliance import errors
from appliance.permissions import Scope
from appliance.web import (
    access_page,
    assets,
    audit_page,
    contract,
    dashboard,
    dead_letters_page,
    guests,
    installed_app,
    job_page,
    metrics_page,
    oidc,
    pages,
    settings_page,
    signin,
    upload_links,
    webhooks_page,
    workers_page,
)
from appliance.web.contract import Contract
from appliance.web.documents import Problem
from appliance.web.openapi import fields, jobs, links, review, system, uploads, webhooks
from appliance.web.openapi.operation import Answer, Group, Handler, Operation, Parameter
from appliance.web.problems import COME_BACK
from appliance.web.routes import ROUTES, Route

GROUPS: tuple[Group, ...] = (
    uploads.UPLOADS,
    uploads.RESUMABLE,
    jobs.JOBS,
    jobs.EVENTS,
    review.DEAD_LETTERS,
    review.PAUSES,
    links.LINKS,
    webhooks.WEBHOOKS,
    review.AUDIT,
    system.ACCESS,
    system.SYSTEM,
)
PAGES: frozenset[Handler] = frozenset(
    {
        pages.show_upload_page,
        dashboard.show_dashboard,
        dead_letters_page.show_dead_letters,
        metrics_page.show_metrics,
        job_page.show_job,
        job_page.show_own_job,
        workers_page.show_workers,
        settings_page.show_settings,
        upload_links.show_links,
        webhooks_page.show_webhooks,
        guests.show_guest_page,
        audit_page.show_audit,
        access_page.show_access,
        contract.show_docs,
        signin.show_signin,
        signin.sign_in,
        signin.sign_out,
        oidc.begin,
        oidc.finish,
        oidc.signed_out_there,
        assets.get_static,
        installed_app.get_manifest,
        installed_app.take_shared,
    }
)
"""What is for browsers only, and no part of the contract."""

PROBLEM = "application/problem+json"
_REF = "#/components/schemas/{name}"
_ALWAYS = (
    errors.BadRequest,  # what is not well formed as HTTP
    errors.TooManyConnections,
    errors.RateLimited,
    errors.ApplianceError,
    errors.DatabaseUnavailable,
)
_OF_WHO = (errors.NotSignedIn, errors.Forbidden, errors.TooManyAttempts, errors.IssuerUnavailable)
_OF_BODIES = (errors.BadRequest, errors.RequestTimeout, errors.ShuttingDown)
_HEADERS_OF_STATUS = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    409: ("Upload-Offset",),
    412: ("Tus-Version",),
    413: ("Upload-Limit",),
    416: ("Content-Range",),
    429: ("RateLimit", "RateLimit-Policy"),
}
_ABOUT = """\
JSON is in camelCase, times are RFC 3339 in UTC, sizes are in bytes. Every `GET` is also there as \
`HEAD`. A refusal is `application/problem+json` (RFC 9457): `code` is stable, `detail` says how to \
mend it. What asks for `text/html` gets a page in its place, or is sent on (303) after a form."""


@functools.cache
def of_this_version() -> Contract:
    """The same for every server of this version, whatever its settings."""
    return Contract.of(_Writer().document())


class _Writer:
    """Collects the schemas and header fields that are referred to while the paths are written."""

    def __init__(self) -> None:
        self.schemas: dict[str, Any] = {}
        self.headers: dict[str, Any] = {}

    def document(self) -> dict[str, Any]:
        described = {
            handler: (group, operation)
            for group in GROUPS
            for handler, operation in group.operations.items()
        }
        paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        for route in ROUTES:
            if route.handler not in PAGES:
                group, operation = described[route.handler]
                paths[route.path][route.method.lower()] = self._operation(route, group, operation)
        return {
            "openapi": "3.1.1",
            "info": {
                "title": "Upload Appliance",
                "version": appliance.__version__,
                "description": _ABOUT,
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "servers": [{"url": "/"}],
            "tags": [{"name": group.name, "description": group.description} for group in GROUPS],
            "paths": dict(paths),
            "components": {
                "schemas": dict(sorted(self.schemas.items())),
                "headers": dict(sorted(self.headers.items())),
                "securitySchemes": _SECURITY,
            },
        }

    def schema(self, kind: Any) -> dict[str, Any]:
        if isinstance(kind, tuple):
            return {"anyOf": [self.schema(one) for one in kind]}
        (found,), components = msgspec.json.schema_components([kind], ref_template=_REF)
        self.schemas |= components
        return found

    def _operation(self, route: Route, group: Group, operation: Operation) -> dict[str, Any]:
        document: dict[str, Any] = {
            "tags": [group.name],
            "operationId": _id(route.handler),
            "summary": operation.summary,
            "parameters": [*self._path(route.path), *self._parameters("query", operation.query),
                           *self._parameters("header", operation.headers)],
            "responses": self._responses(route, operation),
            "security": [] if route.permission is None else [{name: []} for name in _SECURITY],
            "x-curl": operation.curl,
        }  # fmt: skip
        if route.permission is not None:
            document["x-permission"] = route.permission
        if operation.body is not None:
            document["requestBody"] = {
                "required": operation.body.required,
                "content": {
                    media: {"schema": self.schema(kind)}
                    for media, kind in operation.body.content.items()
                },
            }
        return document

    def _path(self, path: str) -> Iterable[dict[str, Any]]:
        for name in re.findall(r"\{(\w+)\}", path):
            kind, description = fields.PATH[name]
            if name == "name" and "/pauses/" in path:
                description = fields.SUBJECT
            yield {
                "name": name,
                "in": "path",
                "required": True,
                "description": description,
                "schema": self.schema(kind),
            }

    def _parameters(self, where: str, parameters: Iterable[Parameter]) -> Iterable[dict[str, Any]]:
        for one in parameters:
            yield {
                "name": one.name,
                "in": where,
                "description": one.description,
                "schema": self.schema(one.type),
            }

    def _responses(self, route: Route, operation: Operation) -> dict[str, Any]:
        responses = {
            str(status): self._answer(answer)
            for status, answer in sorted(operation.answers.items())
        }
        with_body = route.method != "HEAD"
        for status, refusals in sorted(_refusals(route, operation).items()):
            refused = self._refused(status, refusals, with_body=with_body)
            known = responses.setdefault(str(status), refused)
            if known is not refused:
                known["description"] += f" {refused['description']}"
                known["content"] |= refused["content"]
                known["headers"] |= refused["headers"]
        return responses

    def _answer(self, answer: Answer) -> dict[str, Any]:
        document: dict[str, Any] = {
            "description": answer.description,
            "headers": self._headers(answer.headers),
        }
        if answer.type is not None:
            kinds = {answer.media: answer.type, **dict.fromkeys(answer.also, str)}
            document["content"] = {
                media: {"schema": self.schema(kind)} for media, kind in kinds.items()
            }
        return document

    def _refused(
        self, status: int, refusals: Iterable[type[errors.ApplianceError]], *, with_body: bool
    ) -> dict[str, Any]:
        titles = {refusal.code: refusal.title for refusal in refusals}
        headers = _HEADERS_OF_STATUS.get(status, ())
        if status in (429, *COME_BACK):
            headers = (*headers, "Retry-After")
        document: dict[str, Any] = {
            "description": " ".join(f"`{code}`: {title}." for code, title in titles.items()),
            "headers": self._headers(headers),
        }
        if with_body:
            code = {"properties": {"code": {"enum": list(titles)}}}
            schema = {"allOf": [self.schema(Problem), code]}
            document["content"] = {PROBLEM: {"schema": schema}}
        return document

    def _headers(self, names: Iterable[str]) -> dict[str, Any]:
        for name in names:
            kind, description = fields.ANSWERED[name]
            self.headers[name] = {"description": description, "schema": self.schema(kind)}
        return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _id(handler: Handler) -> str:
    """Such as `jobs.get_job`."""
    return f"{handler.__module__.rpartition('.')[2]}.{handler.__name__}"


def _refusals(
    route: Route, operation: Operation
) -> Mapping[int, list[type[errors.ApplianceError]]]:
    """Those of the operation, and those that come with its permission, its body and its query."""
    refusals: list[type[errors.ApplianceError]] = [*operation.refusals, *_ALWAYS]
    if route.permission is not None:
        refusals += _OF_WHO
    if operation.body is not None:
        refusals += _OF_BODIES
    if operation.query or operation.headers:
        refusals.append(errors.BadRequest)
    found: defaultdict[int, list[type[errors.ApplianceError]]] = defaultdict(list)
    for refusal in dict.fromkeys(refusals):
        found[refusal.status].append(refusal)
    return found


_SECURITY = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key. Its role and one of its scopes ("
        + ", ".join(f"`{scope}`" for scope in Scope)
        + ") must have the permission that the operation names.",
    },
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token of the issuer that this server is set to.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "appliance",
        "description": "A browser's session, `__Host-appliance` on TLS. What changes something "
        "must come from a page of this server.",
    },
}
