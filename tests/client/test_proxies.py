"""Proxies, in the form of the Qiskit Runtime clients: requests really go through them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import pytest

from prefect_qiskit_runtime.client import IbmAccount, IbmApi, Proxies, RuntimeApi, RuntimeClient
from prefect_qiskit_runtime.client.ibm import _login
from prefect_qiskit_runtime.errors import ConfigurationError, ServiceUnavailableError
from prefect_qiskit_runtime.settings import Settings
from tests.client.proxy_process import pass_on

from .conftest import Wire, answer

TOKEN = "a-very-secret-token"
PASSWORD = "a-very-secret-password"


@dataclass
class Proxy:
    """A proxy for tunnels (CONNECT) and for plain requests, which knows where a name really is."""

    url: str = ""
    goes_to: int = 0
    asked: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split(b"\r\n")[0].decode())
        onward = await asyncio.open_connection("127.0.0.1", self.goes_to)
        if head.startswith(b"CONNECT"):
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            onward[1].write(head)
        await asyncio.gather(pass_on(reader, onward[1]), pass_on(onward[0], writer))


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield proxy


async def test_plain_requests_go_through_the_proxy(wire: Wire, proxy: Proxy) -> None:
    wire.on("GET /backends", answer({"devices": []}))
    proxy.goes_to = int(wire.url.rpartition(":")[2])
    proxies = {"urls": {"http": proxy.url}}
    async with RuntimeClient("http://runtime.test", TOKEN, proxies=proxies) as client:
        assert await client.backends() == []
    assert proxy.asked == ["GET http://runtime.test/backends HTTP/1.1"]


async def test_encrypted_requests_and_the_login_go_through_it_in_a_tunnel(
    tls_wire: tuple[Wire, str], proxy: Proxy
) -> None:
    wire, certificate = tls_wire
    wire.on("POST /identity/token", answer({"access_token": "t", "expires_in": 3600}))
    wire.on("GET /api/v1/backends", answer({"devices": []}))
    port = int(wire.url.rpartition(":")[2])
    proxy.goes_to = port
    # The certificate is for 127.0.0.1; where that is, only the proxy decides.
    account = IbmAccount(
        TOKEN,
        instance="crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::",
        url=f"https://127.0.0.1:{port}/api/v1",
        verify=certificate,
        proxies=Proxies.everywhere(proxy.url),
    )
    _login._logins.cache_clear()
    async with IbmApi(account) as api:
        assert await api.list_backends() == []
    assert proxy.asked == [f"CONNECT 127.0.0.1:{port} HTTP/1.1"] * 2
    assert [seen.path for seen in wire.seen] == ["/identity/token", "/api/v1/backends"]


async def test_a_proxy_for_one_host_is_for_no_other(wire: Wire, unused_port: int) -> None:
    wire.on("GET /backends", answer({"devices": []}))
    proxies = {"urls": {"http://another.test": f"http://127.0.0.1:{unused_port}"}}
    async with RuntimeClient(wire.url, TOKEN, proxies=proxies) as client:
        assert await client.backends() == []


async def test_a_proxy_that_is_not_there_is_a_passing_fault_without_its_password(
    unused_port: int,
) -> None:
    proxies = {"urls": {"all": f"user:{PASSWORD}@127.0.0.1:{unused_port}"}}
    client = RuntimeClient(
        "http://runtime.test",
        TOKEN,
        proxies=proxies,
        settings=Settings(request_timeout_seconds=1),
    )
    async with client:
        with pytest.raises(ServiceUnavailableError) as caught:
            await client.backends()
    assert PASSWORD not in str(caught.value)


# --- of the environment --------------------------------------------------------------------------


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def impatient(url: str, **given: Any) -> RuntimeClient:
    return RuntimeClient(url, TOKEN, settings=Settings(request_timeout_seconds=1), **given)


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("HTTPS_PROXY", "https://runtime.test"),
        ("https_proxy", "https://runtime.test"),
        ("http_proxy", "http://runtime.test"),
        ("ALL_PROXY", "http://runtime.test"),
        ("ALL_PROXY", "https://runtime.test"),
    ],
)
async def test_a_dead_proxy_of_the_environment_is_named_with_its_variable(
    unused_port: int, monkeypatch: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    monkeypatch.setenv(variable, f"user:{PASSWORD}@127.0.0.1:{unused_port}")
    async with impatient(url) as client:
        with pytest.raises(ServiceUnavailableError) as caught:
            await client.backends()
    named = f"the proxy 127.0.0.1:{unused_port} ({variable}) is not reached"
    assert named in str(caught.value)
    assert "NO_PROXY" in str(caught.value)
    assert PASSWORD not in str(caught.value)


@pytest.mark.usefixtures("no_proxies")
async def test_a_proxy_that_is_given_goes_before_those_of_the_environment(
    wire: Wire, proxy: Proxy, unused_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port}")
    wire.on("GET /backends", answer({"devices": []}))
    proxy.goes_to = int(wire.url.rpartition(":")[2])
    api = RuntimeApi("http://runtime.test", TOKEN, proxies=Proxies.everywhere(proxy.url))
    async with api:
        assert await api.list_backends() == []
    assert len(proxy.asked) == 1


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("excepted", ["runtime.test", "*", "a.test, *"])
async def test_hosts_of_no_proxy_are_asked_without_one(
    unused_port: int, monkeypatch: pytest.MonkeyPatch, excepted: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{unused_port}")
    monkeypatch.setenv("NO_PROXY", excepted)
    async with impatient("http://runtime.test") as client:
        with pytest.raises(ServiceUnavailableError) as caught:  # the name does not exist
            await client.backends()
    assert "proxy" not in str(caught.value)


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"gopher://u:{PASSWORD}@p", "proxy for 'https' .HTTPS_PROXY. cannot be used"),
        (f"http://u:{PASSWORD}@p:port", "proxy for 'https' .HTTPS_PROXY. cannot be used"),
        pytest.param(
            f"socks5://u:{PASSWORD}@p:1",
            "proxy p:1 .HTTPS_PROXY. speaks SOCKS",
            marks=pytest.mark.skipif(find_spec("socksio") is not None, reason="it is installed"),
        ),
    ],
)
async def test_a_proxy_of_the_environment_that_is_none_is_refused_with_its_variable(
    monkeypatch: pytest.MonkeyPatch, url: str, says: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(ConfigurationError, match=says) as caught:
        async with impatient("https://runtime.test"):
            pass
    assert PASSWORD not in str(caught.value)


def test_ntlm_is_refused_with_what_to_do() -> None:
    proxies = {"urls": {"https": "http://p"}, "username_ntlm": "u", "password_ntlm": PASSWORD}
    with pytest.raises(ConfigurationError, match="NTLM authentication are not supported") as caught:
        RuntimeClient("http://runtime.test", TOKEN, proxies=proxies)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("proxies", "says"),
    [
        ({"https": "http://p"}, "must have the form"),
        ({"urls": "http://p"}, "must have the form"),
        ({"urls": {"https": f"gopher://u:{PASSWORD}@p"}}, "proxy for 'https' cannot be used"),
        ({"urls": {"https": f"http://u:{PASSWORD}@p:port"}}, "proxy for 'https' cannot be used"),
    ],
)
def test_a_wrong_form_is_refused_without_showing_it(proxies: dict, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        RuntimeClient("http://runtime.test", TOKEN, proxies=proxies)
    assert PASSWORD not in str(caught.value)
    assert caught.value.__cause__ is None


def test_they_do_not_show() -> None:
    proxies = Proxies.read({"urls": {"https": f"http://user:{PASSWORD}@proxy:3128"}})
    assert PASSWORD not in repr(proxies)
