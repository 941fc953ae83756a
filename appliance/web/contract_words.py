"""The contract's schemas and descriptions as the page of it tells them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} of them",
}


def marked(text: str) -> Markup:
    """`text` with what stands in backticks as code."""
    pieces = re.split(r"`([^`]*)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if index % 2 else escape(piece)
        for index, piece in enumerate(pieces)
    )


def kind_in_words(schema: Mapping[str, Any]) -> Markup:
    """What a value may be, with a link to the document that it is."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#{}">{}</a>').format(name, name.removesuffix("Document"))
    if "anyOf" in schema:
        return Markup(" or ").join(kind_in_words(one) for one in schema["anyOf"])
    if "enum" in schema:
        return Markup(", ").join(Markup("<code>{}</code>").format(one) for one in schema["enum"])
    if schema.get("type") == "array" and "items" in schema:
        return Markup("list of {}").format(kind_in_words(schema["items"]))
    words = [schema.get("format") or schema.get("type") or "anything"]
    words += [told.format(schema[name]) for name, told in _BOUNDS.items() if name in schema]
    return escape(", ".join(words))


def default_in_words(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    if default is None:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def curl(server: str, method: str, path: str, operation: Mapping[str, Any]) -> str:
    """A command that can be pasted, once $KEY and what else varies is set."""
    said = operation["x-curl"]
    implied = {" -F": "POST", " --json": "POST", " -T": "PUT"}
    method_said = next((m for flag, m in implied.items() if flag in f" {said}"), "GET")
    words = ["curl"]
    if method == "head":
        words.append("-I")
    elif method.upper() != method_said:
        words += ["-X", method.upper()]
    if operation["security"]:
        words += ["-H", '"Authorization: Bearer $KEY"']
    if said:
        words.append(said)
    address = re.sub(r"\{(\w+)\}", lambda found: f"${found[1].upper()}", server + path)
    if method_said == "PUT":
        address = address.replace("$FILENAME", "")  # curl adds the name
    return " ".join([*words, f'"{address}"'])
