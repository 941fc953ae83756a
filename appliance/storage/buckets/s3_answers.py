"""The XML of S3: the only XML that is read or written here.

It comes from the store, which is ours and may still be a wrong address. So a document type, by
which XML can be made to grow or to name other files, is refused before anything is parsed.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element as Element
from xml.etree.ElementTree import ParseError, fromstring
from xml.etree.ElementTree import SubElement as SubElement
from xml.etree.ElementTree import tostring as tostring

from appliance.errors import StorageRefused


def parsed(body: bytes) -> Element:
    """Raises StorageRefused for what is no such answer."""
    try:
        text = body.decode()
        if "<!DOCTYPE" in text:  # before any parser sees it
            raise ValueError("a document type")
        return fromstring(text)  # noqa: S314  without a document type
    except (ValueError, ParseError) as error:
        raise StorageRefused("The store answered something that is no S3 answer.") from error
