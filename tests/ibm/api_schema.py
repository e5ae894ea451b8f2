"""Checks answers against the description of IBM's API in `ibm_api.json`."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft202012Validator

BEFORE, CHARGED, PRESENT = "2025-05-01", "2026-03-15", "2026-04-15"
"""A version before the usage of jobs changed, the one that changed it, and the only live one."""

_PAGE = Path(__file__).with_name("ibm_api.json")
_PREFIX = re.compile(r"^/api/v1(?=/)")


@cache
def description() -> dict[str, Any]:
    """Return the content of the file, with the fields of jobs in each form of a job."""
    page = json.loads(_PAGE.read_text(encoding="utf-8"))
    defs = page["$defs"]
    for form in ("job_before", "job"):
        properties = defs[form]["properties"]
        properties.update(defs[properties.pop("$fields")])
    del defs["job_fields"]
    return page


def fault_of(response: httpx.Response) -> str | None:
    """Return how an answer differs from the description; None if it does not. Its body is read."""
    request = response.request
    path = _PREFIX.sub("", request.url.path)
    version = request.headers.get("IBM-API-Version", "")
    if response.status_code >= 400:
        return _fault({"$ref": "#/$defs/error"}, response)
    row = row_of(request.method, path, response.status_code, version)
    if row is None:
        return f"{request.method} {path} does not answer {response.status_code}"
    if "schema" in row:
        return _fault(row["schema"], response)
    is_empty = not response.content
    return None if row.get("text") or is_empty else "the body is not empty"


def row_of(method: str, path: str, status: int, version: str) -> dict[str, Any] | None:
    """Return the row of an answer: the latest whose version is not above the requested one."""
    rows = [
        row
        for row in description()["answers"]
        if row["status"] == status
        and row.get("from", "") <= version
        and _is_for(row["request"], f"{method} {path}")
    ]
    return max(rows, key=lambda row: row.get("from", ""), default=None)


def _is_for(pattern: str, request: str) -> bool:
    expression = re.sub(r"\{\w+\}", "[^/]+", pattern)
    return re.fullmatch(expression, request) is not None


def _fault(schema: dict[str, Any], response: httpx.Response) -> str | None:
    whole = {**schema, "$defs": description()["$defs"]}
    try:
        body = response.json()
    except ValueError:
        return f"the body is not JSON: {response.text:.80}"
    errors = Draft202012Validator(whole).iter_errors(body)
    first = next(iter(errors), None)
    return None if first is None else f"{first.json_path}: {first.message:.200}"
