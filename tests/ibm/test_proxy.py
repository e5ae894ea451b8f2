"""An account behind a proxy: a real one, in a separate process, with a user and a password."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prefect_qiskit_runtime import (
    ConfigurationError,
    IBMQuantumCredentials,
    RuntimeBackend,
    ServiceUnavailableError,
    list_backends,
)
from tests.team import TOKENS, TeamService, running_team

PROXY = Path(__file__).parent.parent / "client" / "proxy_process.py"
PASSWORD = "a-very-secret-password"


@contextmanager
def proxy_to(service: TeamService) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A proxy for `user` and the password, and its address."""
    goes_to = service.url.rpartition(":")[2]
    command = [sys.executable, str(PROXY), goes_to, f"user:{PASSWORD}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = f"127.0.0.1:{process.stdout.readline().split()[1]}"
        try:
            yield process, address
        finally:
            process.kill()


def asked(process: subprocess.Popen[str]) -> list[str]:
    """The requests to the proxy, once it has ended."""
    process.kill()
    assert process.stdout is not None
    return process.stdout.read().splitlines()


def account(proxy_url: str, url: str) -> IBMQuantumCredentials:
    fields = {"api_key": TOKENS["alice"], "url": url, "proxy_url": proxy_url}
    return IBMQuantumCredentials.model_validate(fields)


def list_through(proxy_url: str, url: str) -> int:
    backend = RuntimeBackend(service="ibm", credentials=account(proxy_url, url))
    return len(list_backends.fn(backend=backend))


def test_login_and_requests_go_through_it_with_user_and_password(ibm: TeamService) -> None:
    with proxy_to(ibm) as (process, address):
        url = "http://quantum.test/api/v1"  # only the proxy knows where that is
        assert list_through(f"http://user:{PASSWORD}@{address}", url) > 1
        requests = asked(process)
    paths = [line.split()[1] for line in requests]
    assert paths[0] == "http://quantum.test/identity/token"
    assert paths[-1].startswith("http://quantum.test/api/v1/backends")


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TeamService]:
    home = tmp_path_factory.mktemp("tls") / "home"
    with running_team(home, "--tls", "self-signed") as service:
        yield service


def test_encrypted_requests_go_through_a_tunnel_with_user_and_password(
    encrypted: TeamService, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy_to(encrypted) as (process, address):
        url = f"https://localhost:{encrypted.url.rpartition(':')[2]}/api/v1"
        through = account(f"http://user:{PASSWORD}@{address}", url)
        block = through.model_copy(update={"verify_tls": encrypted.certificate})
        backend = RuntimeBackend(service="ibm", credentials=block)
        assert len(list_backends.fn(backend=backend)) > 1
        assert {line.split()[0] for line in asked(process)} == {"CONNECT"}


@pytest.mark.parametrize("login", ["", "user:wrong@"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses_user_and_password_is_reported_at_once(
    ibm: TeamService, scheme: str, login: str
) -> None:
    with proxy_to(ibm) as (process, address):
        with pytest.raises(
            ConfigurationError, match="The proxy wants a user and a password"
        ) as caught:
            list_through(f"http://{login}{address}", f"{scheme}://quantum.test/api/v1")
        assert len(asked(process)) == 1
    assert "wrong" not in str(caught.value)
    assert f"the proxy {address} answered 407" in str(caught.value)


def test_a_host_that_the_proxy_does_not_let_through_is_reported_at_once(ibm: TeamService) -> None:
    with proxy_to(ibm) as (process, address):
        with pytest.raises(ConfigurationError, match="does not let requests to this host through"):
            list_through(f"http://user:{PASSWORD}@{address}", "https://forbidden.test/api/v1")
        assert len(asked(process)) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_reached_is_named(
    scheme: str, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    through = account(
        f"http://user:{PASSWORD}@127.0.0.1:{unused_tcp_port}", f"{scheme}://quantum.test"
    )
    with pytest.raises(ServiceUnavailableError) as caught:
        through.verify()
    assert f"the proxy 127.0.0.1:{unused_tcp_port} is not reached" in str(caught.value)
    assert caught.value.transient
    assert PASSWORD not in str(caught.value)


def test_what_verify_says_of_a_proxy_that_refuses(ibm: TeamService) -> None:
    refused = pytest.raises(ConfigurationError, match="answered 407")
    with proxy_to(ibm) as (_, address), refused as caught:
        account(f"http://{address}", "https://quantum.test").verify()
    assert str(caught.value).startswith("The network, the certificate or the clock is wrong")
    assert f"the proxy {address} answered" in str(caught.value)


def test_what_verify_says_of_a_dead_proxy_of_the_environment(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PASSWORD}@127.0.0.1:{unused_tcp_port}")
    block = IBMQuantumCredentials.model_validate({"api_key": "a-key", "instance": "mine"})
    with pytest.raises(ServiceUnavailableError) as caught:
        block.verify()
    said = str(caught.value)
    assert said.startswith("The network blocks the request")
    assert f"the proxy 127.0.0.1:{unused_tcp_port} (HTTPS_PROXY) is not reached" in said
    assert PASSWORD not in said
