"""Addresses and names in a plan, refused where nobody could ever be reached at them."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def _admin(text: str) -> str:
    if not _reachable(text if "//" in text else f"http://{text}"):
        raise ValueError("expected an admin address such as 127.0.0.1:9901")
    return text


def _prometheus(text: str) -> str:
    # Left empty it is missing, which is said where it is needed.
    if text not in ("", "stack") and not _reachable(text):
        raise ValueError("expected an address such as http://prometheus:9090, or stack")
    return text


def _reachable(url: str) -> bool:
    """Whether it has a scheme of the web, a host, and a port that exists."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # of a port above 65535, or one that is no number
        return False
    spaced = any(each.isspace() for each in url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and not spaced


def _kubernetes_name(text: str) -> str:
    # Left empty it is missing, which is said where it is needed.
    if text and (len(text) > 253 or not re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", text)):
        raise ValueError("expected a name of Kubernetes: lower-case letters, digits and dashes")
    return text


def _header_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}", text):
        raise ValueError("expected the name of an HTTP header such as x-huidu-bucket")
    return text


AdminAddress = Annotated[str, AfterValidator(_admin)]
PrometheusAddress = Annotated[str, AfterValidator(_prometheus)]
KubernetesName = Annotated[str, AfterValidator(_kubernetes_name)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
