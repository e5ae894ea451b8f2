"""IBM Quantum accounts: the key, the instance, and which hosts that means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import environ
from typing import Any, Self
from urllib.parse import urlsplit

from prefect_qiskit_runtime.client._proxies import Proxies
from prefect_qiskit_runtime.client._transport import Verify
from prefect_qiskit_runtime.errors import ConfigurationError

DEFAULT_REGION = "us-east"
"""The region whose host has no prefix."""

_CLOUDS = ("cloud.ibm.com", "test.cloud.ibm.com")
_CRN_FIELDS = 8


def is_crn(instance: str) -> bool:
    """Say whether an instance is given by its cloud resource name, rather than by its name."""
    return instance.startswith("crn:")


@dataclass(frozen=True)
class IbmAccount:
    """What is needed to work with IBM Quantum, or with a service that imitates it.

    Attributes:
        api_key: The key; not shown by `repr`.
        instance: CRN or name of the instance; None where the account has one only.
        url: None for IBM's own. Another service takes its own url, which is used as it is; its
            identity, search and catalog services are then those of the same host. So a key
            never goes to a host that was not named.
        region: Choose among the instances of this region, where none is named.
        private_endpoint: Use the hosts that IBM's private network reaches.
        proxies: What is asked through a proxy.
        verify: Whether to verify TLS certificates, or the path of a certificate to trust.
        channel: The name that qiskit has for the kind of account.
        plans: Choose among the instances of these plans, where none is named.
        tags: Choose among the instances with these tags, where none is named.
    """

    api_key: str = field(repr=False)
    instance: str | None = None
    url: str | None = None
    region: str | None = None
    private_endpoint: bool = False
    proxies: Proxies | None = None
    verify: Verify = True
    channel: str = "ibm_quantum_platform"
    plans: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def to_fields(self) -> dict[str, Any]:
        """Return the account as JSON values, the key included: for another process of one's own."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        proxies = None if self.proxies is None else dict(self.proxies.urls)
        verify = self.verify if isinstance(self.verify, bool) else str(self.verify)
        return {**fields, "proxies": proxies, "verify": verify}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Return the account that `to_fields` has described.

        Raises:
            ConfigurationError: These are not the fields of an account.
        """
        read = dict(fields)
        try:
            proxies = read.pop("proxies", None)
            read["plans"], read["tags"] = tuple(read["plans"]), tuple(read["tags"])
            return cls(**read, proxies=Proxies(proxies) if proxies else None)
        except (KeyError, TypeError):
            # Not chained, and without what stood there: it may be a key.
            raise ConfigurationError("The credentials are not those of an IBM account.") from None

    def read(self) -> Self:
        """Return the account: this one. A `SavedAccount` reads a file here."""
        return self

    def api_url(self, crn: str | None) -> str:
        """Return the base of the service's API.

        Args:
            crn: The instance, whose region says the host; None as long as it is not known.

        Raises:
            ConfigurationError: The instance is no CRN.
        """
        if self._cloud is None or urlsplit(self.url or "").path.strip("/"):
            return (self.url or "").rstrip("/")
        region = _region(crn) if crn else self.region or DEFAULT_REGION
        if self.private_endpoint:
            return f"https://private.{region}.quantum.{self._cloud}/api/v1"
        prefix = "" if region == DEFAULT_REGION else f"{region}."
        return f"https://{prefix}quantum.{self._cloud}/api/v1"

    @property
    def iam_url(self) -> str:
        """The identity service; the variable IAM_URL goes before."""
        private = "private." if self.private_endpoint else ""
        own = f"https://{private}iam.{self._cloud}" if self._cloud else self._origin
        return (environ.get("IAM_URL") or own).rstrip("/")

    @property
    def search_url(self) -> str:
        """The search for instances; the variable GLOBAL_SEARCH_URL goes before."""
        own = f"https://api.global-search-tagging.{self._cloud}" if self._cloud else self._origin
        return (environ.get("GLOBAL_SEARCH_URL") or own).rstrip("/")

    @property
    def catalog_url(self) -> str:
        """The catalog of plans; the variable GLOBAL_CATALOG_URL goes before."""
        host = f"https://globalcatalog.{self._cloud}" if self._cloud else f"{self._origin}/catalog"
        return (environ.get("GLOBAL_CATALOG_URL") or f"{host}/api/v1").rstrip("/")

    @property
    def _cloud(self) -> str | None:
        """The domain of IBM's cloud that is meant; None for somebody else's service."""
        if self.url is None:
            staging = self.instance is not None and self.instance.startswith("crn:v1:staging:")
            return _CLOUDS[1] if staging else _CLOUDS[0]
        host = urlsplit(self.url).hostname or ""
        domains = (domain for domain in reversed(_CLOUDS) if f".{host}".endswith(f".{domain}"))
        return next(domains, None)

    @property
    def _origin(self) -> str:
        return origin(self.url or "")


def origin(url: str) -> str:
    """Return a url without its path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _region(crn: str) -> str:
    parts = crn.split(":")
    if len(parts) < _CRN_FIELDS or not parts[5]:
        raise ConfigurationError(
            f"The instance {crn!r} is no cloud resource name: it has the form"
            " crn:v1:bluemix:public:quantum-computing:us-east:a/ACCOUNT:INSTANCE::. Copy it from"
            " https://quantum.cloud.ibm.com/instances, or give the name of the instance."
        )
    return parts[5]
