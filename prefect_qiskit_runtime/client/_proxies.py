"""Proxies, in the form in which qiskit saves them, for httpx."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from prefect_qiskit_runtime.errors import ConfigurationError

ProxiesLike = Mapping[str, Any] | None
"""As the Qiskit Runtime clients take them: `{"urls": {"https": "http://proxy.example.org:3128"}}`."""


@dataclass(frozen=True)
class Proxies:
    """Which requests go through which proxy.

    Attributes:
        urls: The proxies by scheme (`http`, `https`, `all`), or scheme and host
            (`https://quantum.cloud.ibm.com`). They may hold passwords, so `repr` leaves them out.
    """

    urls: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls, given: ProxiesLike) -> Self | None:
        """Read them from the form of the Qiskit Runtime clients.

        Raises:
            ConfigurationError: They ask for NTLM, or are not of that form.
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
            ConfigurationError: That is no url of a proxy.
        """
        proxies = cls({"all": _with_scheme(url)})
        proxies.proxy("all")
        return proxies

    def proxy(self, scheme: str) -> httpx.Proxy:
        """Return the proxy of a scheme, or of a scheme and host.

        Raises:
            ConfigurationError: Its url is none. The message does not cite it.
        """
        try:
            return httpx.Proxy(self.urls[scheme])
        except (ValueError, httpx.InvalidURL):
            # Not chained: the cause cites the url, which may hold a password.
            raise ConfigurationError(
                f"The url of the proxy for {scheme!r} cannot be used: it must have the form"
                " http://host:port, https://host:port or http://user:password@host:port."
            ) from None

    def mounts(self, verify: ssl.SSLContext | bool) -> dict[str, httpx.AsyncHTTPTransport]:
        """Return the transports through the proxies, by the patterns of httpx."""
        return {
            scheme if "://" in scheme else f"{scheme}://": _ThroughProxy(self.proxy(scheme), verify)
            for scheme in self.urls
        }


CONNECTIONS = httpx.Limits(max_connections=None, max_keepalive_connections=20)
"""Of each client; through a proxy or not."""


class _ThroughProxy(httpx.AsyncHTTPTransport):
    """Requests through one proxy, which is named where it is not reached."""

    def __init__(self, proxy: httpx.Proxy, verify: ssl.SSLContext | bool) -> None:
        super().__init__(verify=verify, proxy=proxy, limits=CONNECTIONS)
        self._name = proxy.url.netloc.decode()  # without user and password

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as fault:
            if any(isinstance(cause, ssl.SSLError) for cause in causes(fault)):
                raise  # of the host behind it
            what = str(fault) or type(fault).__name__
            raise httpx.ProxyError(
                f"the proxy {self._name} is not reached ({what})", request=request
            ) from fault


def causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it came from."""
    cause: BaseException | None = exc
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _with_scheme(url: str) -> str:
    # As requests does, which is what the Qiskit Runtime clients ask with.
    return url if "://" in url else f"http://{url}"
