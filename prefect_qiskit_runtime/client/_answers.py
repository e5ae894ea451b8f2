"""From what came back (or did not) to an error of this package: the one place that maps them."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from pydantic import ValidationError

from prefect_qiskit_runtime.client._proxies import ProxyFault, causes
from prefect_qiskit_runtime.errors import (
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
    """One question to a service, in the words that an error needs.

    Attributes:
        method: The HTTP method.
        path: Path below the base of the service.
        doing: What is tried, as in "get job abc".
        kind: What is missing if the answer is 404 (see `NotFoundError.kind`).
        identifier: The id or name of it.
        repeatable: Whether sending it twice has the effect of sending it once.
    """

    method: str
    path: str
    doing: str
    kind: str = "page"
    identifier: str | None = None
    repeatable: bool = False


def error_from_response(
    call: Call, response: httpx.Response, secrets: Iterable[str]
) -> QiskitRuntimeError:
    """Turn a refusal into an error. The body of the response must have been read.

    Args:
        call: What was asked.
        response: The answer, with a status of 300 or above.
        secrets: Taken out of what the service says, should it echo them.
    """
    told = _Told.of(response, secrets)
    error = _error(call, response, told)
    error.code = told.code
    error.retry_after_seconds = _retry_after_seconds(response)
    # A limit of pending jobs, a reserved device: nothing is wrong with what was asked, but when.
    error.transient = error.transient or next_step(told.code) is NextStep.WAIT
    return error


def _error(call: Call, response: httpx.Response, told: _Told) -> QiskitRuntimeError:
    status = response.status_code
    tried = f"Cannot {call.doing}: {_answer(response, told)}"
    if status in (404, 410):
        # A submission names a program and a backend: the service may say which is missing.
        kind, identifier = told.kind or call.kind, told.identifier or call.identifier
        return NotFoundError(tried, kind=kind, identifier=identifier)
    if status == 429:
        return RateLimitedError(tried)
    if status in (400, 413, 422):
        return InvalidInputError(tried, path=told.path, rule=told.rule)
    if status == 409 and told.kind == SessionClosedError.kind:
        return SessionClosedError(tried, identifier=told.identifier)
    if status == 408 or status >= 500:
        return ServiceUnavailableError(f"{tried} This may pass: try again.")
    kind, advice = _REFUSALS.get(status, (ProtocolError, "Is this a Qiskit Runtime service?"))
    if told.code == _INSTANCE_USED_UP and not told.solution:
        advice = "Wait for its next period, raise its limit, or take another instance."
    return kind(f"{tried} {advice}".rstrip())


def _answer(response: httpx.Response, told: _Told) -> str:
    """What the service said; where it said nothing, or fails, also who it was and the status."""
    if told.message and 400 <= response.status_code < 500:
        return told.sentence.removeprefix(": ")
    return f"{response.request.url.host} answered {response.status_code}{told.sentence}"


def error_from_fault(call: Call, url: str, fault: httpx.HTTPError) -> QiskitRuntimeError:
    """Turn a failure to get any answer into an error."""
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
    """Return the error of a request that a proxy did not let through, or could not be asked to."""
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


def malformed(call: Call, exc: Exception) -> ProtocolError:
    """Say that an answer is not what the protocol has there, without citing its content."""
    if isinstance(exc, ValidationError):
        places = exc.errors(include_input=False, include_url=False, include_context=False)
        first = places[0]
        where = ".".join(str(part) for part in first["loc"])
        what = f"{where}: {first['msg']}" if where else first["type"]
    else:
        what = type(exc).__name__
    return ProtocolError(
        f"Cannot {call.doing}: the answer is not one of the protocol ({what})."
        " Is this a Qiskit Runtime service, of a version that fits?"
    )


@dataclass(frozen=True)
class _Told:
    """What the body of a refusal says, whichever of the known forms it has."""

    message: str = ""
    path: str | None = None
    rule: str | None = None
    solution: str = ""
    kind: str | None = None
    identifier: str | None = None
    code: int | None = None

    @classmethod
    def of(cls, response: httpx.Response, secrets: Iterable[str]) -> _Told:
        try:
            body = json.loads(response.content)
        except ValueError:  # a proxy's page, or nothing: the status has to say it
            return cls()
        told = cls._fields(body)
        texts = {name: _without(secrets, str(text)) for name, text in told.items() if text}
        return cls(**texts, code=cls._code(body))

    @classmethod
    def _fields(cls, body: Any) -> dict[str, Any]:
        error = cls._error_of(body)
        if isinstance(error, str):
            return {"message": error}
        if not isinstance(error, dict):
            return {}
        names = ("path", "rule", "solution", "kind", "identifier")
        # `errorMessage` is what IBM Cloud's identity service says.
        message = error.get("message") or error.get("errorMessage")
        return {"message": message, **{name: error.get(name) for name in names}}

    @classmethod
    def _code(cls, body: Any) -> int | None:
        error = cls._error_of(body)
        code = error.get("code") if isinstance(error, dict) else None
        try:
            return None if code is None or isinstance(code, bool) else int(code)
        except (TypeError, ValueError):  # a name, as gateways give them
            return None

    @staticmethod
    def _error_of(body: Any) -> Any:
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
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
