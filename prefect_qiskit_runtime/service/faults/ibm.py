"""Behave as IBM's cloud does today: only its endpoints, with its rules and its error format.

Limits that IBM does not publish (number and length of tags) are set to the lowest values that
users rely on, so that code that works here also works there.
"""

from __future__ import annotations

import json
import secrets
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from prefect_qiskit_runtime.errors import AuthenticationError, InvalidInputError
from prefect_qiskit_runtime.models import PRIMITIVES
from prefect_qiskit_runtime.service.access_tokens import Authenticator, Purpose
from prefect_qiskit_runtime.service.faults.ibm_answers import Form, form_of
from prefect_qiskit_runtime.service.faults.requests import Exchange
from prefect_qiskit_runtime.service.faults.scenarios import matches
from prefect_qiskit_runtime.service.http.auth import token_of
from prefect_qiskit_runtime.service.http.dialect import VERSION_HEADER
from prefect_qiskit_runtime.service.http.gate import without_prefix
from prefect_qiskit_runtime.service.instances import crn
from prefect_qiskit_runtime.service.json_text import parse_object
from prefect_qiskit_runtime.service.problem import problem_response
from prefect_qiskit_runtime.service.store.records import Owner

MOST_TAGS = 2
LONGEST_TAG = 40
HIGHEST_MAX_EXECUTION_SECONDS = 3 * 3600

_CONTROL = "/fault-mode/**"
_LOGIN = "/identity/token"
_ACCOUNT = ("/v3/resources/search", "/catalog/**")
# The endpoints of IBM's cloud. All others are missing, including custom programs and interim
# results.
_PRESENT = (
    ("GET", "/backends"),
    ("GET", "/backends/*/*"),
    ("GET", "/instance"),
    ("GET", "/instances/usage"),
    ("POST", "/jobs"),
    ("GET", "/jobs"),
    ("GET", "/jobs/*"),
    ("DELETE", "/jobs/*"),
    ("GET", "/jobs/*/results"),
    ("GET", "/jobs/*/logs"),
    ("GET", "/jobs/*/metrics"),
    ("PUT", "/jobs/*/tags"),
    ("POST", "/jobs/*/cancel"),
    ("POST", "/sessions"),
    ("GET", "/sessions"),
    ("GET", "/sessions/*"),
    ("PATCH", "/sessions/*"),
    ("DELETE", "/sessions/*/close"),
    ("GET", "/workloads"),
)
# Headers of our protocol, which IBM's cloud ignores.
_OUR_HEADERS = (b"idempotency-key", b"idempotency-fingerprint", b"result-acknowledgement")
_LARGEST_PAGE = 200


class IbmLayer:
    """ASGI middleware around a service: IBM's endpoints and rules."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse requests that IBM's cloud would refuse; answer the rest in its forms."""
        path = without_prefix(scope["path"])
        if matches(_CONTROL, path) or path == _LOGIN:
            await self._app(scope, receive, send)
            return
        exchange = Exchange(self._app, _as_ibm_reads(scope), receive, send)
        refusal = self._refusal(HTTPConnection(scope), path)
        if refusal is None and _carries_tags(scope, path):
            body = await exchange.read_body()
            refusal = _refusal_of_body(path, body)
            exchange = exchange.with_body(body)
        if refusal is not None:
            await exchange.answer(refusal)
        elif exchange.is_websocket:
            await exchange.forward()
        else:
            await _answer_in_form(exchange, form_of(scope["method"], path))

    def _refusal(self, connection: HTTPConnection, path: str) -> Response | None:
        owner = self._caller(connection)
        if owner is None:
            return problem_response(
                401, "The token is missing, expired or not an IAM token.", code=1200
            )
        if any(matches(known, path) for known in _ACCOUNT):
            return None
        method = connection.scope.get("method")
        if not any(method == one and matches(known, path) for one, known in _PRESENT):
            asked = f"{method} {path}" if method else path
            return problem_response(404, f"{asked} is not part of IBM Quantum's API.")
        if connection.headers.get("service-crn") != crn(owner):
            return problem_response(
                404, "The header Service-CRN names no instance of this account.", code=1007
            )
        return None

    def _caller(self, connection: HTTPConnection) -> Owner | None:
        """Return the caller, by an access token of the identity service or by `apikey <key>`."""
        token = token_of(connection) or ""
        scheme = connection.headers.get("authorization", "").partition(" ")[0].lower()
        try:
            if scheme == "apikey":
                return self._authenticator.log_in(token)
            return self._authenticator.access.read(token, Purpose.API).owner
        except AuthenticationError:
            return None


def _as_ibm_reads(scope: Scope) -> Scope:
    """Remove what IBM ignores: headers of our protocol, and limits above its largest page."""
    headers = [pair for pair in scope["headers"] if pair[0] not in _OUR_HEADERS]
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    kept = [(name, value) for name, value in query if name != "limit" or not _is_above(value)]
    if kept == query:
        return {**scope, "headers": headers}
    return {**scope, "headers": headers, "query_string": urlencode(kept).encode()}


def _is_above(limit: str) -> bool:
    return limit.isdecimal() and int(limit) > _LARGEST_PAGE


def _carries_tags(scope: Scope, path: str) -> bool:
    if scope["type"] != "http":
        return False
    return (scope["method"], path) == ("POST", "/jobs") or (
        scope["method"] == "PUT" and matches("/jobs/*/tags", path)
    )


def _refusal_of_body(path: str, messages: list[Message]) -> Response | None:
    try:
        fields = parse_object(b"".join(m.get("body", b"") for m in messages)).fields
    except InvalidInputError:
        return None  # refused by the app
    tags = fields.get("tags") or []
    if len(tags) > MOST_TAGS:
        return problem_response(400, f"A job has at most {MOST_TAGS} tags here.", code=1204)
    if any(len(tag) > LONGEST_TAG for tag in tags if isinstance(tag, str)):
        return problem_response(400, f"A tag has at most {LONGEST_TAG} characters here.", code=1205)
    if path != "/jobs":
        return None
    return _refusal_of_job(fields)


def _refusal_of_job(fields: dict[str, Any]) -> Response | None:
    program_id = fields.get("program_id")
    if program_id not in PRIMITIVES:
        return problem_response(
            404,
            f"Program {program_id!r} not found: IBM Quantum runs {', '.join(PRIMITIVES)}."
            " Custom programs were removed in 2024.",
        )
    if not fields.get("backend"):
        return problem_response(400, "A job needs a backend.", code=1002)
    seconds = fields.get("cost")
    if isinstance(seconds, int) and seconds > HIGHEST_MAX_EXECUTION_SECONDS:
        return problem_response(
            400,
            f"max_execution_time is {seconds} s; at most {HIGHEST_MAX_EXECUTION_SECONDS} s"
            " are allowed.",
            code=1002,
        )
    return None


async def _answer_in_form(exchange: Exchange, form: Form | None) -> None:
    """Let the app answer, in the form that its answers have at IBM."""
    if form is None:
        await exchange.forward()
        return
    version = HTTPConnection(exchange.scope).headers.get(VERSION_HEADER, "")
    start, *rest = await exchange.collect()
    if start["status"] < 400:
        body = json.loads(b"".join(message.get("body", b"") for message in rest))
        response = JSONResponse(form(body, version), status_code=start["status"])
        await response(exchange.scope, exchange.receive, exchange.send)
        return
    for message in (start, *rest):
        await exchange.send(message)


class IbmErrors:
    """ASGI middleware around a service and its faults: errors have IBM's format."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Convert errors, but not those of the control endpoints and of the identity service."""
        path = without_prefix(scope["path"]) if scope["type"] == "http" else _LOGIN
        if path == _LOGIN or matches(_CONTROL, path):
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def convert(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and message["status"] >= 400:
                start = message
            elif start is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body"):
                    await _in_ibm_format(start, body)(scope, receive, send)

        await self._app(scope, receive, convert)


def _in_ibm_format(start: Message, body: bytes) -> JSONResponse:
    ours = json.loads(body)["error"]
    error = {
        "code": ours["code"],
        "message": ours["message"],
        "solution": ours.get("solution", ""),
        "more_info": "https://quantum.cloud.ibm.com/docs/errors",
    }
    content = {"errors": [error], "trace": secrets.token_hex(16)}
    waits = {
        name.decode(): value.decode()
        for name, value in start["headers"]
        if name.lower() == b"retry-after"
    }
    return JSONResponse(content, status_code=start["status"], headers=waits)
