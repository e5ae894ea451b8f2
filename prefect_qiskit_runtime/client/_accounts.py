"""IBM Quantum accounts: the key, the instance, and the hosts to connect to."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
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
    """Return whether an instance is identified by its CRN rather than by its name."""
    return instance.startswith("crn:")


@dataclass(frozen=True)
class IbmAccount:
    """The credentials and settings for IBM Quantum, or for a service compatible with it.

    Attributes:
        api_key: The key; not shown by `repr`.
        instance: CRN or name of the instance; None if the account has only one.
        url: None for IBM's own service. The URL of another service is used unchanged, and its
            identity, search and catalog services are expected on the same host. So a key
            is never sent to a host that was not specified.
        region: Consider only instances in this region, if `instance` is None.
        private_endpoint: Use the hosts of IBM's private network.
        proxies: The proxies to use.
        verify: Whether to verify TLS certificates, or the path of a certificate to trust.
        channel: Qiskit's name for the kind of account.
        plans: Consider only instances with one of these plans, if `instance` is None.
        tags: Consider only instances with all of these tags, if `instance` is None.
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
        """Return the account as JSON values, including the key, for another local process."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        proxies = None if self.proxies is None else dict(self.proxies.urls)
        verify = self.verify if isinstance(self.verify, bool) else str(self.verify)
        return {**fields, "proxies": proxies, "verify": verify}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """Return an account from the fields that `to_fields` returned.

        Raises:
            ConfigurationError: These are not the fields of an account.
        """
        read = dict(fields)
        try:
            proxies = read.pop("proxies", None)
            read["plans"], read["tags"] = tuple(read["plans"]), tuple(read["tags"])
            return cls(**read, proxies=Proxies(proxies) if proxies else None)
        except (KeyError, TypeError):
            # Neither chained nor quoted: the invalid value may be a key.
            raise ConfigurationError("The credentials are not those of an IBM account.") from None

    def read(self) -> Self:
        """Return this account. `SavedAccount.read` reads it from a file."""
        return self

    def api_url(self, crn: str | None) -> str:
        """Return the base of the service's API.

        Args:
            crn: The instance, whose region determines the host; None while it is unknown.

        Raises:
            ConfigurationError: The instance is not a CRN.
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
        """The identity service; the variable IAM_URL overrides it."""
        private = "private." if self.private_endpoint else ""
        own = f"https://{private}iam.{self._cloud}" if self._cloud else self._origin
        return (environ.get("IAM_URL") or own).rstrip("/")

    @property
    def search_url(self) -> str:
        """The search for instances; the variable GLOBAL_SEARCH_URL overrides it."""
        own = f"https://api.global-search-tagging.{self._cloud}" if self._cloud else self._origin
        return (environ.get("GLOBAL_SEARCH_URL") or own).rstrip("/")

    @property
    def catalog_url(self) -> str:
        """The catalog of plans; the variable GLOBAL_CATALOG_URL overrides it."""
        host = f"https://globalcatalog.{self._cloud}" if self._cloud else f"{self._origin}/catalog"
        return (environ.get("GLOBAL_CATALOG_URL") or f"{host}/api/v1").rstrip("/")

    @property
    def _cloud(self) -> str | None:
        """The domain of IBM Cloud to use; None for a service outside IBM Cloud."""
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
            f"The instance {crn!r} is not a cloud resource name: those have the form"
            " crn:v1:bluemix:public:quantum-computing:us-east:a/ACCOUNT:INSTANCE::. Copy it from"
            " https://quantum.cloud.ibm.com/instances, or give the name of the instance."
        )
    return parts[5]


_ANY_INSTANCE = "auto"


@dataclass(frozen=True)
class SavedAccount:
    """The place of a saved account, and values that replace the saved ones.

    The account is chosen in Qiskit's order: the account of that `name`; else QISKIT_IBM_TOKEN with
    QISKIT_IBM_URL and QISKIT_IBM_INSTANCE; else, of the `channel` (or QISKIT_IBM_CHANNEL), the
    account saved as default, the one under the channel's default name, or any other; else any.

    Attributes:
        name: Its name; None for the default one.
        filename: The file; None for Qiskit's default file.
        channel: Consider only accounts of this channel, if no name is given.
        instance: Replaces the saved instance.
        region: Replaces the saved region.
        proxies: Replaces the saved proxies.
        verify: Replaces the saved `verify`.
        private_endpoint: Replaces the saved `private_endpoint`.
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
        """Read the account. This call blocks, and imports Qiskit.

        Raises:
            ConfigurationError: No such account is saved, or it cannot be used.
        """
        doing = f"read {'the account ' + repr(self.name) if self.name else 'an account'}"
        with (
            explained(doing, self.filename),
            readable_accounts(existing_file(self.filename), needed=self.name) as path,
        ):
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
        # Missing in some supported versions of qiskit-ibm-runtime.
        region=getattr(saved, "region", None),
        plans=tuple(getattr(saved, "plans_preference", None) or ()),
        tags=tuple(getattr(saved, "tags", None) or ()),
        private_endpoint=bool(saved.private_endpoint),
        proxies=Proxies.read(proxies.to_dict() if proxies else None),
        verify=saved.verify is not False,
        channel=saved.channel,
    )


def file_path(filename: str | None) -> Path:
    # Qiskit cannot create the folder of a bare file name.
    return Path(filename or seams.account_file()).expanduser().absolute()


_LOCK_SECONDS = 30.0
_LOCK_PAUSE_SECONDS = 0.02


@contextmanager
def changed_accounts(filename: str | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Let the block change the saved accounts; the result replaces the file in one step.

    Writers of this package wait for each other. A new file is readable by its owner only.

    Yields:
        A file with the accounts that Qiskit can read, to be changed by Qiskit, and the other
        entries, which are kept unless they are removed here or have the name of a new account.
    """
    path = file_path(filename).resolve()  # a link stays a link
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock(path.with_name(f"{path.name}.lock")):
        accounts, others = _split_accounts(path)
        with _temporary_file(path.parent, accounts) as changed:
            yield changed, others
            merged = {**others, **json.loads(changed.read_text("utf-8"))}
            changed.write_text(json.dumps(merged, sort_keys=True, indent=4), "utf-8")
            if path.exists():
                shutil.copymode(path, changed)
            changed.replace(path)


@contextmanager
def readable_accounts(filename: str, *, needed: str | None = None) -> Iterator[str]:
    """Yield a file with the saved accounts that Qiskit can read: one it cannot would stop it.

    Args:
        filename: The file of saved accounts.
        needed: The account to read; if Qiskit cannot read it, the error should say why.
    """
    path = Path(filename)
    accounts, others = _split_accounts(path)
    if not others or needed in others:
        yield filename
        return
    with _temporary_file(None, accounts) as readable:
        yield str(readable)


def _split_accounts(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the entries of a file that Qiskit can read as accounts, and the others."""
    entries = json.loads(path.read_text("utf-8")) if path.exists() else {}
    if not isinstance(entries, dict):
        raise ValueError(f"it contains a JSON {type(entries).__name__}, not an object")  # noqa: TRY004
    accounts = {name: entry for name, entry in entries.items() if seams.is_account(entry)}
    return accounts, {name: entry for name, entry in entries.items() if name not in accounts}


@contextmanager
def _temporary_file(folder: Path | None, entries: Mapping[str, Any]) -> Iterator[Path]:
    descriptor, name = tempfile.mkstemp(prefix=".qiskit-accounts-", dir=folder)  # mode 0600
    path = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(entries, file)
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold a lock file. The lock ends with the process, even if the file stays."""
    until = time.monotonic() + _LOCK_SECONDS
    with path.open("a") as file:
        while not _try_lock(file.fileno()):
            if time.monotonic() >= until:
                raise ConfigurationError(
                    f"Another process has held {path} for {_LOCK_SECONDS:.0f} s. If none changes"
                    " the saved accounts, delete the file."
                )
            time.sleep(_LOCK_PAUSE_SECONDS)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def existing_file(filename: str | None) -> str:
    """Return the file to read. Qiskit would create an empty file for a misspelt name."""
    path = file_path(filename)
    if filename is not None and not path.exists():
        raise ConfigurationError(
            f"The file {path} does not exist. Save an account in it with"
            f" RuntimeClient.save_account(…, filename={filename!r}), or correct the name."
        )
    return str(path)


@contextmanager
def explained(doing: str, filename: str | None) -> Iterator[None]:
    """Convert errors of Qiskit and of the file system to an error of this package."""
    try:
        yield
    except seams.account_errors() as exc:
        raise ConfigurationError(
            f"Cannot {doing} in {file_path(filename)}: {getattr(exc, 'message', None) or exc}"
            " RuntimeClient.saved_accounts() lists the saved accounts, and"
            " RuntimeClient.save_account(…) saves one."
        ) from exc
    except (OSError, ValueError, KeyError) as exc:
        raise ConfigurationError(
            f"Cannot {doing} in {file_path(filename)}: {type(exc).__name__}: {exc}. The file"
            " must be JSON as qiskit writes it."
        ) from exc
