"""The only place that maps refusals and failed requests to errors of this package."""

from __future__ import annotations

import json
import math
import ssl
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from pydantic import ValidationError

from prefect_qiskit_runtime.client._proxies import ProxyFault, causes
from prefect_qiskit_runtime.errors import (
    DELETED_JOB,
    AccessDeniedError,
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    ProtocolError,
    QiskitRuntimeError,
    RateLimitedError,
    ServiceUnavailableError,
    SessionClosedError,
)
from prefect_qiskit_runtime.models import NextStep, next_step

_PROXY_LOGIN = (
    "The proxy wants a user and a password, or others: give them with its url, as in"
    " http://user:password@proxy.example.org:3128."
)

_INSTANCE_USED_UP = 4317

_REFUSALS: dict[int, tuple[type[QiskitRuntimeError], str]] = {
    401: (AuthenticationError, "Check the token, or log in again."),
    403: (AccessDeniedError, "The user of this token may not do this."),
    409: (ConflictError, ""),
    423: (ConflictError, ""),
}


@dataclass(frozen=True)
class Call:
    """One request to a service, with the words that its error message needs.

    Attributes:
        method: The HTTP method.
        path: Path below the base of the service.
        doing: The attempted action, as in "get job abc".
        kind: The kind of object that is missing after a 404 (see `NotFoundError.kind`).
        identifier: The id or name of that object.
        repeatable: Whether sending it twice has the same effect as sending it once.
        waits_for_object: Whether it is sent again while an object that was made a moment ago is
            not visible yet.
    """

    method: str
    path: str
    doing: str
    kind: str = "page"
    identifier: str | None = None
    repeatable: bool = False
    waits_for_object: bool = True


def error_from_response(
    call: Call, response: httpx.Response, secrets: Iterable[str]
) -> QiskitRuntimeError:
    """Convert a refusal to an error. The body of the response must have been read.

    Args:
        call: The request.
        response: The answer, with a status of 300 or above.
        secrets: Removed from the message, in case the service echoes them.
    """
    if response.status_code in (401, 403) and is_page(response):
        return _blocked(call, response)
    if response.status_code in (404, 410) and not _has_reason(response):
        return _no_answer_of_the_service(call, response)
    refusal = _Refusal.from_response(response, secrets)
    error = _error(call, response, refusal)
    error.code = refusal.code
    error.retry_after_seconds = _retry_after_seconds(response)
    # A limit on pending jobs, a reserved device: the request is valid, only its time is not.
    error.transient = error.transient or next_step(refusal.code) is NextStep.WAIT
    return error


def is_page(response: httpx.Response) -> bool:
    """Return whether the body of a refusal is not JSON, as services write it, but a page."""
    try:
        json.loads(response.content)
    except (ValueError, RecursionError):
        return bool(response.content.strip())
    return False


def _has_reason(response: httpx.Response) -> bool:
    """Return whether a refusal has the form in which services write it: an object with an error."""
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        return False
    error = _Refusal.error_of(body)
    return isinstance(error, dict) and error is not body


def _blocked(call: Call, response: httpx.Response) -> ConfigurationError:
    error = ConfigurationError(
        f"Cannot {call.doing}: {response.request.url.host} answered {response.status_code} with"
        " a page that is not an answer of the service, so a firewall or a proxy blocks the"
        " request. Ask its operator to let requests to this host through, or use another"
        " network."
    )
    error.transient = _may_pass(call, response.request.url)
    return error


def _no_answer_of_the_service(call: Call, response: httpx.Response) -> ProtocolError:
    """Return the error for a 404 or 410 of a gateway, which does not show that nothing is there."""
    host, status = response.request.url.host, response.status_code
    error = ProtocolError(
        f"Cannot {call.doing}: {host} answered {status} without the reason that a Qiskit Runtime"
        " service adds, so the answer may come from a proxy or a gateway. Is the url right?"
    )
    error.transient = _may_pass(call, response.request.url)
    error.retry_after_seconds = _retry_after_seconds(response)
    return error


def _error(call: Call, response: httpx.Response, refusal: _Refusal) -> QiskitRuntimeError:
    status = response.status_code
    tried = f"Cannot {call.doing}: {_answer(response, refusal)}"
    if status in (404, 410):
        # A submission names a program and a backend: the service may report which is missing.
        kind, identifier = refusal.kind or call.kind, refusal.identifier or call.identifier
        if kind == "job" and status == 410 and call.path == f"/jobs/{identifier}":
            kind = DELETED_JOB
        return NotFoundError(tried, kind=kind, identifier=identifier)
    if status == 429:
        return RateLimitedError(tried)
    if status in (400, 413, 422):
        return InvalidInputError(tried, path=refusal.path, rule=refusal.rule)
    if status == 409 and refusal.kind == SessionClosedError.kind:
        return SessionClosedError(tried, session_id=refusal.identifier)
    if status == 408 or status >= 500:
        return ServiceUnavailableError(f"{tried} This may pass: try again.")
    kind, advice = _REFUSALS.get(status, (ProtocolError, "Is this a Qiskit Runtime service?"))
    if refusal.code == _INSTANCE_USED_UP and not refusal.solution:
        advice = "Wait for its next period, raise its limit, or take another instance."
    return kind(f"{tried} {advice}".rstrip())


def _answer(response: httpx.Response, refusal: _Refusal) -> str:
    """Return the service's message; add host and status if it is empty or the service failed."""
    if refusal.message and 400 <= response.status_code < 500:
        return refusal.sentence.removeprefix(": ")
    return f"{response.request.url.host} answered {response.status_code}{refusal.sentence}"


def error_from_fault(call: Call, url: str, fault: httpx.HTTPError) -> QiskitRuntimeError:
    """Convert a request without an answer to an error."""
    tried = f"Cannot {call.doing} at {url}:"
    if isinstance(fault, httpx.UnsupportedProtocol):
        return ConfigurationError(f"{tried} the url must begin with http:// or https://.")
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes(fault)):
        return ConfigurationError(
            f"{tried} its certificate is not trusted ({fault}). Give the path of the certificate"
            " as verify=, or verify=False if you trust the network."
        )
    if isinstance(fault, httpx.TimeoutException):
        return ServiceUnavailableError(
            f"{tried} no answer in time ({type(fault).__name__}). Is the service overloaded?"
        )
    what = str(fault) or type(fault).__name__
    if isinstance(fault, ProxyFault):
        return _proxy_error(tried, what, fault)
    return ServiceUnavailableError(f"{tried} {what}. Is the service running and reachable?")


def _proxy_error(tried: str, what: str, fault: ProxyFault) -> QiskitRuntimeError:
    """Return the error of a request that a proxy blocked, or whose proxy is unreachable."""
    proxy = f"the proxy {fault.proxy}"
    if not fault.is_reached:
        return ServiceUnavailableError(
            f"{tried} {proxy} is not reached ({what}). Is it running, and is its url right?"
            " NO_PROXY names the hosts that need none."
        )
    answered = f"{tried} {proxy} answered {what}"
    if what.startswith("407"):
        return ConfigurationError(f"{answered}. {_PROXY_LOGIN}")
    if what.startswith("4"):
        return ConfigurationError(
            f"{answered}: it does not let requests to this host through. Ask who runs it, or take"
            " another way."
        )
    return ServiceUnavailableError(f"{answered}. This may pass: try again.")


class KnownServices:
    """The hosts that have answered this process, and whether one of their answers was JSON.

    Each call opens a connection, so the connection cannot know it. An embedded service has another
    port after each start: at most `limit` hosts are remembered, and the first is forgotten first.
    """

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._speak_json: dict[str, bool] = {}
        self._lock = threading.Lock()

    def record_answer(self, url: str | httpx.URL, *, is_json: bool = False) -> None:
        """Record that the service at a URL has answered."""
        host = _host(url)
        with self._lock:
            self._speak_json[host] = is_json or self._speak_json.get(host, False)
            if len(self._speak_json) > self._limit:
                del self._speak_json[next(iter(self._speak_json))]

    def has_answered(self, url: str | httpx.URL) -> bool:
        """Return whether the service at a URL has answered, so its address is correct."""
        return _host(url) in self._speak_json

    def speaks_json(self, url: str | httpx.URL) -> bool:
        """Return whether the service at a URL has answered with JSON, as a Runtime service does."""
        return self._speak_json.get(_host(url), False)


known_services = KnownServices()


def malformed(
    call: Call, fault: Exception | str, url: str | httpx.URL | None = None, *, at: str = ""
) -> ProtocolError:
    """Return the error for an answer that breaks the protocol, without quoting its content.

    It is transient if the answer to a question is not JSON, while the service has answered with
    JSON before: the page comes from a proxy or a gateway, or a part is missing.

    Args:
        call: The request.
        fault: The exception of the parser, or a description of the fault.
        url: The address of the service; None if the answer is JSON.
        at: Path of the part of the answer that was read, such as `jobs.3`.
    """
    error = _malformed(call, fault, at)
    error.transient = url is not None and _is_not_json(fault) and _may_pass(call, url)
    return error


def _may_pass(call: Call, url: str | httpx.URL) -> bool:
    """Return whether an answer that is not one of the service is a passing fault of a question."""
    return known_services.speaks_json(url) and (call.repeatable or call.method == "GET")


def _host(url: str | httpx.URL) -> str:
    return httpx.URL(url).netloc.decode()


def _is_not_json(fault: Exception | str) -> bool:
    if isinstance(fault, ValidationError):
        faults = fault.errors(include_input=False, include_url=False, include_context=False)
        return faults[0]["type"] == "json_invalid"
    return isinstance(fault, json.JSONDecodeError | UnicodeDecodeError)


def _malformed(call: Call, fault: Exception | str, at: str) -> ProtocolError:
    if isinstance(fault, ValidationError):
        places = fault.errors(include_input=False, include_url=False, include_context=False)
        first = places[0]
        where = ".".join(filter(None, (at, *(str(part) for part in first["loc"]))))
        what = f"{where}: {first['msg']}" if where else first["type"]
    else:
        what = fault if isinstance(fault, str) else type(fault).__name__
        what = f"{at}: {what}" if at else what
    return ProtocolError(
        f"Cannot {call.doing}: the answer is not one of the protocol ({what})."
        " Is this a Qiskit Runtime service, of a version that fits?"
    )


@dataclass(frozen=True)
class _Refusal:
    """The content of a refusal's body, in any of the known forms."""

    message: str = ""
    path: str | None = None
    rule: str | None = None
    solution: str = ""
    kind: str | None = None
    identifier: str | None = None
    code: int | None = None

    @classmethod
    def from_response(cls, response: httpx.Response, secrets: Iterable[str]) -> _Refusal:
        try:
            body = json.loads(response.content)
        except (ValueError, RecursionError):  # a proxy's page, or empty: only the status is known
            return cls()
        fields = cls._fields(body)
        texts = {name: _without(secrets, str(text)) for name, text in fields.items() if text}
        return cls(**texts, code=cls._code(body))

    @classmethod
    def _fields(cls, body: Any) -> dict[str, Any]:
        error = cls.error_of(body)
        if isinstance(error, str):
            return {"message": error}
        if not isinstance(error, dict):
            return {}
        names = ("path", "rule", "solution", "kind", "identifier")
        # IBM Cloud's identity service uses `errorMessage`.
        message = error.get("message") or error.get("errorMessage")
        return {"message": message, **{name: error.get(name) for name in names}}

    @classmethod
    def _code(cls, body: Any) -> int | None:
        error = cls.error_of(body)
        code = error.get("code") if isinstance(error, dict) else None
        try:
            return None if code is None or isinstance(code, bool) else int(code)
        except (TypeError, ValueError, OverflowError):  # a name, as gateways send them
            return None

    @staticmethod
    def error_of(body: Any) -> Any:
        """Return the part of a body that describes the error; the body if no part does."""
        if not isinstance(body, dict):
            return None
        errors = body.get("errors")
        if isinstance(errors, list) and errors:  # IBM Quantum Platform has a list
            return errors[0]
        return body.get("error") or body.get("detail") or body

    @property
    def sentence(self) -> str:
        parts = [part.rstrip(".") + "." for part in (self.message, self.solution) if part]
        return f": {' '.join(parts)}" if parts else "."


def _without(secrets: Iterable[str], text: str) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text


def _retry_after_seconds(response: httpx.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    try:
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
