"""IBM Quantum accounts: the key, the instance, and which hosts that means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from os import environ
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from prefect_qiskit_runtime.client._proxies import Proxies
from prefect_qiskit_runtime.client._transport import Verify
from prefect_qiskit_runtime.codec import seams
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


_ANY_INSTANCE = "auto"


@dataclass(frozen=True)
class SavedAccount:
    """Where an account is saved, and what is to be different.

    qiskit's order of choice applies: the account of that `name`; else QISKIT_IBM_TOKEN with
    QISKIT_IBM_URL and QISKIT_IBM_INSTANCE; else, of the `channel` (or QISKIT_IBM_CHANNEL), the
    one that was saved as default, the one under the channel's default name, any other; else any.

    Attributes:
        name: Its name; None for the default one.
        filename: The file; None for qiskit's own.
        channel: Choose among the accounts of this channel, where no name is given.
        instance: In place of the saved one.
        region: Likewise.
        proxies: Likewise.
        verify: Likewise.
        private_endpoint: Likewise.
    """

    name: str | None = None
    filename: str | None = None
    channel: str | None = None
    instance: str | None = None
    region: str | None = None
    proxies: Proxies | None = None
    verify: bool | None = None
    private_endpoint: bool | None = None

    def read(self) -> IbmAccount:
        """Read the account. It blocks, and imports qiskit.

        Raises:
            ConfigurationError: There is none, or it cannot be used.
        """
        doing = f"read {'the account ' + repr(self.name) if self.name else 'an account'}"
        with explained(doing, self.filename):
            path = existing_file(self.filename)
            saved = seams.account_manager().get(filename=path, name=self.name, channel=self.channel)
            saved.validate()
        account = _account_of(saved)
        asked = {
            name: getattr(self, name)
            for name in ("instance", "region", "proxies", "verify", "private_endpoint")
        }
        return replace(
            account, **{name: value for name, value in asked.items() if value is not None}
        )


def _account_of(saved: Any) -> IbmAccount:
    proxies = getattr(saved, "proxies", None)
    return IbmAccount(
        api_key=saved.token,
        instance=None if saved.instance == _ANY_INSTANCE else saved.instance,
        url=saved.url,
        # Not known to all supported versions of qiskit-ibm-runtime.
        region=getattr(saved, "region", None),
        plans=tuple(getattr(saved, "plans_preference", None) or ()),
        tags=tuple(getattr(saved, "tags", None) or ()),
        private_endpoint=bool(saved.private_endpoint),
        proxies=Proxies.read(proxies.to_dict() if proxies else None),
        verify=saved.verify is not False,
        channel=saved.channel,
    )


def file_path(filename: str | None) -> Path:
    # qiskit cannot make the folder of a bare name.
    return Path(filename or seams.account_file()).expanduser().absolute()


def private_file(filename: str | None) -> Path:
    """Return the file to write; a new one is for its owner only."""
    path = file_path(filename)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text("{}")
    return path


def existing_file(filename: str | None) -> str:
    """Return the file to read. qiskit would make an empty one of a name with a typing error."""
    path = file_path(filename)
    if filename is not None and not path.exists():
        raise ConfigurationError(
            f"There is no file {path}. Save an account in it with RuntimeClient.save_account(…,"
            f" filename={filename!r}), or correct the name."
        )
    return str(path)


@contextmanager
def explained(doing: str, filename: str | None) -> Iterator[None]:
    """Turn what qiskit and the file system raise into an error of this package."""
    try:
        yield
    except seams.account_errors() as exc:
        raise ConfigurationError(
            f"Cannot {doing} in {file_path(filename)}: {getattr(exc, 'message', None) or exc}"
            " RuntimeClient.saved_accounts() shows what is saved, and RuntimeClient.save_account(…)"
            " saves one."
        ) from exc
    except (OSError, ValueError, KeyError) as exc:
        raise ConfigurationError(
            f"Cannot {doing} in {file_path(filename)}: {type(exc).__name__}: {exc}. The file"
            " must be JSON as qiskit writes it."
        ) from exc
