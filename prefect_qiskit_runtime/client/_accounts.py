"""Accounts that qiskit has saved on this machine, in its own file and by its own rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from prefect_qiskit_runtime.client._account import IbmAccount
from prefect_qiskit_runtime.client._api import RuntimeApi
from prefect_qiskit_runtime.client._proxies import Proxies, ProxiesLike
from prefect_qiskit_runtime.codec import _seams
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.models import Instance, InstanceUsage

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
        with _explained(doing, self.filename):
            path = _existing(self.filename)
            saved = _seams.account_manager().get(
                filename=path, name=self.name, channel=self.channel
            )
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


class AccountMethods:
    """What the Qiskit Runtime services do with accounts and instances, for `RuntimeClient`."""

    _api: RuntimeApi

    async def active_account(self) -> dict[str, Any] | None:
        """Return the account that is used; None for the embedded service, which has none.

        The `token` is a `SecretStr`, so that printing does not show it.
        """
        return self._api.active_account()

    async def instances(self) -> list[Instance]:
        """Return the instances of the account."""
        return await self._api.list_instances()

    async def active_instance(self) -> str:
        """Return the CRN of the instance that is used."""
        if self._api.instance is not None:
            return self._api.instance
        return (await self.instances())[0].crn

    async def usage(self) -> InstanceUsage:
        """Return how much time of backends the instance has used, and its limit."""
        return await self._api.usage()

    @staticmethod
    def save_account(  # noqa: PLR0917 - in the order of the Qiskit Runtime services
        token: str | None = None,
        url: str | None = None,
        instance: str | None = None,
        channel: str | None = None,
        filename: str | None = None,
        name: str | None = None,
        proxies: ProxiesLike = None,
        verify: bool | None = None,
        *,
        overwrite: bool = False,
        set_as_default: bool | None = None,
        private_endpoint: bool = False,
        region: str | None = None,
        plans_preference: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
    ) -> None:
        """Save an account of IBM Quantum where qiskit finds it too. It blocks, and asks nobody.

        Args:
            token: The API key. It is saved as text, in a file that only you can read.
            url: Another service that speaks as IBM's does; None for IBM's own.
            instance: CRN or name of the instance to use.
            channel: "ibm_quantum_platform" (the default) or "ibm_cloud".
            filename: The file; None for qiskit's own.
            name: Its name; None for the channel's default name.
            proxies: As in `{"urls": {"https": "http://proxy.example.org:3128"}}`.
            verify: Whether to verify TLS certificates.
            overwrite: Replace an account of that name.
            set_as_default: Use it where no account is named.
            private_endpoint: Use the hosts that IBM's private network reaches.
            region: Choose among the instances of this region, where none is named.
            plans_preference: Choose among the instances of these plans, where none is named.
            tags: Choose among the instances with these tags, where none is named.

        Raises:
            ConfigurationError: There is one of that name, or a value is wrong.
        """
        Proxies.read(proxies)
        given = {
            "private_endpoint": private_endpoint or None,
            "region": region,
            "plans_preference": None if plans_preference is None else list(plans_preference),
            "tags": None if tags is None else list(tags),
        }
        path = _path(filename)
        with _explained("save the account", filename):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.touch(mode=0o600)
                path.write_text("{}")
            _seams.account_manager().save(
                token=token,
                url=url,
                instance=instance,
                channel=channel,
                filename=str(path),
                name=name,
                proxies=_seams.saved_proxies(proxies),
                verify=verify,
                overwrite=overwrite,
                set_as_default=set_as_default,
                # What the installed qiskit-ibm-runtime does not know is not passed needlessly.
                **{name: value for name, value in given.items() if value is not None},
            )

    @staticmethod
    def saved_accounts(
        default: bool | None = None,
        channel: str | None = None,
        filename: str | None = None,
        name: str | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Return the saved accounts by their names. It blocks, and asks nobody.

        Args:
            default: True for those with a channel's default name only, False for the others.
            channel: Those of this channel only.
            filename: The file; None for qiskit's own.
            name: The one of this name only.

        Returns:
            What is saved; the `token` is a `SecretStr`, so that printing does not show it.

        Raises:
            ConfigurationError: The file cannot be read.
        """
        with _explained("list the saved accounts", filename):
            if not _path(filename).exists():
                return {}
            accounts = _seams.account_manager().list(
                default=default, channel=channel, filename=str(_path(filename)), name=name
            )
            return {name: _shown(account.to_saved_format()) for name, account in accounts.items()}

    @staticmethod
    def delete_account(
        filename: str | None = None, name: str | None = None, channel: str | None = None
    ) -> bool:
        """Delete a saved account. It blocks, and asks nobody.

        Args:
            filename: The file; None for qiskit's own.
            name: Its name; None for the channel's default name.
            channel: Whose default account is meant, where no name is given.

        Returns:
            False if there was none.

        Raises:
            ConfigurationError: The file cannot be read or written.
        """
        with _explained("delete the account", filename):
            if not _path(filename).exists():
                return False
            return _seams.account_manager().delete(
                filename=str(_path(filename)), name=name, channel=channel
            )


def _shown(saved: Mapping[str, Any]) -> dict[str, Any]:
    return {name: SecretStr(value) if name == "token" else value for name, value in saved.items()}


def _path(filename: str | None) -> Path:
    # qiskit cannot make the folder of a bare name.
    return Path(filename or _seams.account_file()).expanduser().absolute()


def _existing(filename: str | None) -> str:
    """Return the file to read. qiskit would make an empty one of a name with a typing error."""
    path = _path(filename)
    if filename is not None and not path.exists():
        raise ConfigurationError(
            f"There is no file {path}. Save an account in it with RuntimeClient.save_account(…,"
            f" filename={filename!r}), or correct the name."
        )
    return str(path)


@contextmanager
def _explained(doing: str, filename: str | None) -> Iterator[None]:
    """Turn what qiskit and the file system raise into an error of this package."""
    try:
        yield
    except _seams.account_errors() as exc:
        raise ConfigurationError(
            f"Cannot {doing} in {_path(filename)}: {getattr(exc, 'message', None) or exc}"
        ) from exc
    except (OSError, ValueError, KeyError) as exc:
        raise ConfigurationError(
            f"Cannot {doing} in {_path(filename)}: {type(exc).__name__}: {exc}. The file must be"
            " JSON as qiskit writes it."
        ) from exc
