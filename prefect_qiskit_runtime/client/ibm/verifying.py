"""Check whether an IBM Quantum account works and, if not, report the cause in one sentence."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime

import httpx

from prefect_qiskit_runtime.client._accounts import IbmAccount, SavedAccount
from prefect_qiskit_runtime.client._transport import open_http
from prefect_qiskit_runtime.client.ibm._login import LOGIN_SECONDS, iam_login
from prefect_qiskit_runtime.client.ibm.api import IbmApi
from prefect_qiskit_runtime.errors import (
    AccessDeniedError,
    AuthenticationError,
    ConfigurationError,
    InvalidInputError,
    NotFoundError,
    QiskitRuntimeError,
)

# The skew that cloud services usually tolerate.
_LARGEST_SKEW_SECONDS = 300.0


async def verify_account(source: IbmAccount | SavedAccount) -> str:
    """Log in, find the instance, and send it requests that are free of charge.

    Returns:
        A sentence with the instance, its backends and its usage.

    Raises:
        ConfigurationError: The account, the certificate, or the clock of this machine is wrong.
        AuthenticationError: The key or the instance is wrong.
        ServiceUnavailableError: The network or the service does not work.
    """
    account = await asyncio.to_thread(source.read)
    skew_seconds = await _skew_seconds(account)
    if skew_seconds is not None and abs(skew_seconds) > _LARGEST_SKEW_SECONDS:
        raise ConfigurationError(
            f"The clock of this machine is wrong: it is {abs(skew_seconds):.0f} s"
            f" {'ahead of' if skew_seconds > 0 else 'behind'} that of {account.iam_url}, so"
            " certificates and tokens may be refused; set it by the network's time."
        )
    await _log_in(account)
    try:
        async with IbmApi(account) as api:
            backends, usage = await asyncio.gather(api.list_backends(), api.usage())
            instance = api.instance
    except (
        ConfigurationError,
        AuthenticationError,
        AccessDeniedError,
        NotFoundError,
        InvalidInputError,
    ) as error:
        named = account.instance or "none is named"
        raise _with_cause(
            error, f"The key is valid, but the instance is wrong ({named})"
        ) from error
    except QiskitRuntimeError as error:
        raise _with_cause(error, "The key is valid, but the service does not answer") from error
    limit, consumed = usage.usage_limit_seconds, usage.usage_consumed_seconds
    of = "" if limit is None else f" of {limit:g}"
    used = "an unknown part" if consumed is None else f"{consumed:g}"
    return (
        f"The key is valid for instance {instance} at {api.url}, which has {len(backends)} backends"
        f" and has used {used}{of} s."
    )


async def _log_in(account: IbmAccount) -> None:
    def connect() -> httpx.AsyncClient:
        return open_http(
            account.iam_url, account.verify, account.proxies, timeout_seconds=LOGIN_SECONDS
        )

    login = iam_login(account.iam_url, account.api_key)
    login.forget()  # the token of a deleted key stays valid for a while
    try:
        await login.token(connect)
    except AuthenticationError as error:
        raise AuthenticationError(
            f"The key is wrong: {account.iam_url} refused it; keys are made at"
            " https://cloud.ibm.com/iam/apikeys."
        ) from error
    except ConfigurationError as error:
        raise _with_cause(error, "The network, the certificate or the clock is wrong") from error
    except QiskitRuntimeError as error:
        raise _with_cause(
            error, "The network blocks the request, or the service is down"
        ) from error


async def _skew_seconds(account: IbmAccount) -> float | None:
    """Return how far this machine's clock is ahead of the service's; None if unknown."""
    with suppress(httpx.HTTPError, ValueError, TypeError):  # the next request reports it better
        async with open_http(account.iam_url, account.verify, account.proxies) as http:
            response = await http.get(account.iam_url)
        return time.time() - parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
    return None


def _with_cause(error: QiskitRuntimeError, what: str) -> QiskitRuntimeError:
    """Return an error of the same type whose message begins with the cause."""
    why = str(error).partition(". ")[0].rstrip(".")
    clearer = type(error)(f"{what}: {why}.")
    clearer.code, clearer.transient = error.code, error.transient
    return clearer
