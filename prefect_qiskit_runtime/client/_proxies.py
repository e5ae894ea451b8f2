"""Proxies in the form that Qiskit saves, for httpx."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.request import getproxies

import httpx

from prefect_qiskit_runtime.errors import ConfigurationError

ProxiesLike = Mapping[str, Any] | None
"""As in the Qiskit Runtime clients: `{"urls": {"https": "http://proxy.example.org:3128"}}`."""


@dataclass(frozen=True)
class Proxies:
    """The mapping from requests to proxies.

    Attributes:
        urls: The proxies by scheme (`http`, `https`, `all`), or scheme and host
            (`https://quantum.cloud.ibm.com`). They may hold passwords, so `repr` leaves them out.
        variables: The environment variables they came from, if any, by the same keys.
    """

    urls: Mapping[str, str] = field(repr=False)
    variables: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, given: ProxiesLike) -> Self | None:
        """Read them from the form of the Qiskit Runtime clients.

        Raises:
            ConfigurationError: They require NTLM, or do not have that form.
        """
        if not given:
            return None
        if given.get("username_ntlm") or given.get("password_ntlm"):
            raise ConfigurationError(
                "Proxies with NTLM authentication are not supported. Run a local proxy that speaks"
                " NTLM for you (cntlm, px), and give its address as the proxy's url."
            )
        urls = given.get("urls")
        if set(given) - {"urls", "username_ntlm", "password_ntlm"} or not isinstance(urls, Mapping):
            raise ConfigurationError(
                'proxies must have the form {"urls": {"https": "http://proxy.example.org:3128"}}.'
            )
        proxies = cls({str(scheme): _with_scheme(str(url)) for scheme, url in urls.items()})
        for scheme in proxies.urls:
            proxies.proxy(scheme)
        return proxies

    @classmethod
    def everywhere(cls, url: str) -> Self:
        """Send every request through one proxy.

        Raises:
            ConfigurationError: The URL is not valid for a proxy.
        """
        # One entry for each scheme, so that they override the proxies of the environment.
        proxies = cls(dict.fromkeys(_SCHEMES, _with_scheme(url)))
        proxies.proxy("all")
        return proxies

    @classmethod
    def of_environment(cls) -> Self:
        """Read `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY`, or the system's settings.

        The result is empty if `NO_PROXY` is `*`; httpx handles the hosts named there.

        Raises:
            ConfigurationError: One of the URLs is not valid for a proxy.
        """
        found = getproxies()
        if "*" in (host.strip() for host in found.get("no", "").split(",")):
            return cls({})
        urls = {scheme: _with_scheme(found[scheme]) for scheme in _SCHEMES if found.get(scheme)}
        proxies = cls(urls, {scheme: _variable(scheme, found[scheme]) for scheme in urls})
        for scheme in urls:
            proxies.proxy(scheme)
        return proxies

    def proxy(self, scheme: str) -> httpx.Proxy:
        """Return the proxy of a scheme, or of a scheme and host.

        Raises:
            ConfigurationError: Its URL is invalid. The message does not quote it.
        """
        try:
            return httpx.Proxy(self.urls[scheme])
        except (ValueError, httpx.InvalidURL):
            # Not chained: the cause quotes the URL, which may contain a password.
            raise ConfigurationError(
                f"The url of the proxy for {scheme!r}{self._whence(scheme)} cannot be used: it must"
                " have the form http://host:port, https://host:port or"
                " http://user:password@host:port."
            ) from None

    def mounts(self, verify: ssl.SSLContext | bool) -> dict[str, httpx.AsyncHTTPTransport]:
        """Return the transports through the proxies, by URL patterns of httpx.

        Raises:
            ConfigurationError: A proxy uses SOCKS, and the package for it is not installed.
        """
        return {
            scheme if "://" in scheme else f"{scheme}://": self._transport(scheme, verify)
            for scheme in self.urls
        }

    def _transport(self, scheme: str, verify: ssl.SSLContext | bool) -> _ThroughProxy:
        proxy = self.proxy(scheme)
        # The name is without user and password.
        name = f"{proxy.url.netloc.decode()}{self._whence(scheme)}"
        try:
            return _ThroughProxy(proxy, verify, name)
        except ImportError as exc:
            raise ConfigurationError(
                f"The proxy {name} speaks SOCKS, for which the package socksio is missing: install"
                " httpx[socks]."
            ) from exc

    def _whence(self, scheme: str) -> str:
        variable = self.variables.get(scheme)
        return "" if variable is None else f" ({variable})"


CONNECTIONS = httpx.Limits(max_connections=None, max_keepalive_connections=20)
"""The connection limits of each client, with or without a proxy."""

_SCHEMES = ("http", "https", "all")


class ProxyFault(httpx.ProxyError):
    """A request that did not get through a proxy.

    Attributes:
        proxy: Its address, without user and password, and the variable it came from.
        is_reached: Whether the proxy has answered.
    """

    def __init__(self, what: str, proxy: str, *, is_reached: bool) -> None:
        super().__init__(what)
        self.proxy = proxy
        self.is_reached = is_reached


class _ThroughProxy(httpx.AsyncHTTPTransport):
    """Requests through one proxy; errors name the proxy."""

    def __init__(self, proxy: httpx.Proxy, verify: ssl.SSLContext | bool, name: str) -> None:
        super().__init__(verify=verify, proxy=proxy, limits=CONNECTIONS)
        self._name = name

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await super().handle_async_request(request)
        except httpx.ProxyError as fault:
            raise ProxyFault(str(fault), self._name, is_reached=True) from fault
        except (httpx.ConnectError, httpx.ConnectTimeout) as fault:
            if any(isinstance(cause, ssl.SSLError) for cause in causes(fault)):
                raise  # an error of the host behind the proxy
            what = str(fault) or type(fault).__name__
            raise ProxyFault(what, self._name, is_reached=False) from fault
        if response.status_code == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
            # A request without a tunnel; a host behind the proxy never returns this status.
            await response.aclose()
            what = f"{response.status_code} {response.reason_phrase}"
            raise ProxyFault(what, self._name, is_reached=True)
        return response


def causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes."""
    cause: BaseException | None = exc
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _with_scheme(url: str) -> str:
    # The same as `requests`, the library of the Qiskit Runtime clients.
    return url if "://" in url else f"http://{url}"


def _variable(scheme: str, value: str) -> str:
    """Return the source of a proxy of the environment."""
    wanted = f"{scheme}_proxy"
    for name in (wanted, wanted.upper()):
        if os.environ.get(name) == value:
            return name
    return "the settings of the system"
