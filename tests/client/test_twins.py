"""The synchronous client has what the asynchronous one has, with the same arguments."""

from __future__ import annotations

import inspect

import pytest

from prefect_qiskit_runtime.client import (
    RuntimeClient,
    RuntimeClientJob,
    RuntimeClientSession,
    SyncRuntimeClient,
    SyncRuntimeClientJob,
    SyncRuntimeClientSession,
)
from prefect_qiskit_runtime.errors import ConfigurationError

PAIRS = [
    (RuntimeClient, SyncRuntimeClient),
    (RuntimeClientJob, SyncRuntimeClientJob),
    (RuntimeClientSession, SyncRuntimeClientSession),
]
# Only one of them can have these: they belong to the loop, or open and close the thread.
APART = {"deliver", "open", "close"}


def public(kind: type) -> dict[str, inspect.Signature]:
    members = inspect.getmembers(kind, inspect.isfunction)
    return {
        name: inspect.signature(member).replace(return_annotation=inspect.Signature.empty)
        for name, member in members
        if not name.startswith("_") and name not in APART
    }


@pytest.mark.parametrize(("waiting", "blocking"), PAIRS)
def test_the_twins_have_the_same_methods(waiting: type, blocking: type) -> None:
    assert public(blocking) == public(waiting)
    assert len(public(waiting)) >= 5


def test_the_twins_are_made_with_the_same_arguments() -> None:
    assert inspect.signature(SyncRuntimeClient) == inspect.signature(RuntimeClient)


@pytest.mark.parametrize(("waiting", "blocking"), PAIRS)
def test_no_method_of_a_blocking_twin_is_a_coroutine(waiting: type, blocking: type) -> None:
    names = public(blocking)
    assert [name for name in names if inspect.iscoroutinefunction(getattr(blocking, name))] == []


def test_a_url_needs_a_token() -> None:
    with pytest.raises(ConfigurationError, match="both url and token"):
        RuntimeClient("http://127.0.0.1")
    with pytest.raises(ConfigurationError, match="both url and token"):
        SyncRuntimeClient(token="t")


def test_a_client_that_is_not_open_says_so() -> None:
    with pytest.raises(ConfigurationError, match="not open"):
        SyncRuntimeClient("http://127.0.0.1", "t").programs()
