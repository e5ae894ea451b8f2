"""The client for interactive use: the methods of the Qiskit Runtime services, no Prefect."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import SecretStr

from prefect_qiskit_runtime.client._accounts import (
    IbmAccount,
    SavedAccount,
    changed_accounts,
    explained,
    file_path,
    readable_accounts,
)
from prefect_qiskit_runtime.client._backends import BackendsClient
from prefect_qiskit_runtime.client._proxies import Proxies, ProxiesLike
from prefect_qiskit_runtime.client.ibm.api import IbmApi
from prefect_qiskit_runtime.codec import seams
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.models import Instance, InstanceUsage
from prefect_qiskit_runtime.renamed import old_method
from prefect_qiskit_runtime.settings import Settings

_ANY_INSTANCE = "auto"


class AccountsClient(BackendsClient):
    """The account and instance methods of the Qiskit Runtime services, for `RuntimeClient`."""

    async def active_account(self) -> dict[str, Any] | None:
        """Return the account in use; None for the embedded service, which has no accounts.

        The `token` is a `SecretStr`, so that printing does not show it.
        """
        return self._api.active_account()

    async def instances(self) -> list[Instance]:
        """Return the instances of the account."""
        return await self._api.list_instances()

    async def active_instance(self) -> str:
        """Return the CRN of the instance in use."""
        if self._api.instance is not None:
            return self._api.instance
        return (await self.instances())[0].crn

    async def usage(self) -> InstanceUsage:
        """Return the device time that the instance has used, and its limit."""
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
        """Save an IBM Quantum account where Qiskit finds it too. Blocks; sends no requests.

        Args:
            token: The API key. It is saved as text, in a file that only you can read.
            url: Another service with IBM's protocol; None for IBM's service.
            instance: CRN or name of the instance to use.
            channel: "ibm_quantum_platform" (the default) or "ibm_cloud".
            filename: The file; None for Qiskit's default file.
            name: Its name; None for the channel's default name.
            proxies: As in `{"urls": {"https": "http://proxy.example.org:3128"}}`.
            verify: Whether to verify TLS certificates.
            overwrite: Replace an account of that name.
            set_as_default: Use it if no account is named.
            private_endpoint: Use the hosts of IBM's private network.
            region: Consider only instances in this region, if `instance` is None.
            plans_preference: Consider only instances with these plans, if `instance` is None.
            tags: Consider only instances with all of these tags, if `instance` is None.

        Raises:
            ConfigurationError: An account of that name exists, or a value is wrong.
        """
        Proxies.read(proxies)
        given = {
            "private_endpoint": private_endpoint or None,
            "region": region,
            "plans_preference": None if plans_preference is None else list(plans_preference),
            "tags": None if tags is None else list(tags),
        }
        _save_entry(
            filename,
            overwrite=overwrite,
            token=token,
            url=url,
            instance=instance,
            channel=channel,
            name=name,
            proxies=seams.saved_proxies(proxies),
            verify=verify,
            set_as_default=set_as_default,
            # Only given values, since older versions of qiskit-ibm-runtime lack some of them.
            **{name: value for name, value in given.items() if value is not None},
        )

    @staticmethod
    def saved_accounts(
        default: bool | None = None,
        channel: str | None = None,
        filename: str | None = None,
        name: str | None = None,
    ) -> dict[str, dict[str, Any]]:
        """Return the saved accounts by their names. Blocks; sends no requests.

        Args:
            default: True for accounts with a channel's default name, False for the others.
            channel: Only accounts of this channel.
            filename: The file; None for Qiskit's default file.
            name: Only the account of this name.

        Returns:
            The saved fields by account name; the `token` is a `SecretStr`, so that printing does
            not show it. Entries that Qiskit cannot read are left out.

        Raises:
            ConfigurationError: The file cannot be read.
        """
        with explained("list the saved accounts", filename):
            if not file_path(filename).exists():
                return {}
            with readable_accounts(str(file_path(filename))) as path:
                accounts = seams.account_manager().list(
                    default=default, channel=channel, filename=path, name=name
                )
            return {name: _shown(account.to_saved_format()) for name, account in accounts.items()}

    @staticmethod
    def delete_account(
        filename: str | None = None, name: str | None = None, channel: str | None = None
    ) -> bool:
        """Delete a saved account. Blocks; sends no requests.

        Args:
            filename: The file; None for Qiskit's default file.
            name: Its name; None for the channel's default name.
            channel: The channel whose default account is deleted, if no name is given.

        Returns:
            False if the account did not exist.

        Raises:
            ConfigurationError: The file cannot be read or written.
        """
        with explained("delete the account", filename):
            if not file_path(filename).exists():
                return False
            with changed_accounts(filename) as (path, others):
                is_other = others.pop(name or "", None) is not None
                return is_other or seams.account_manager().delete(
                    filename=str(path), name=name, channel=channel
                )


def _save_entry(filename: str | None, *, overwrite: bool, **fields: Any) -> None:
    with (
        explained("save the account", filename),
        changed_accounts(filename) as (path, others),
    ):
        seams.account_manager().save(filename=str(path), overwrite=overwrite, **fields)
        taken = json.loads(path.read_text("utf-8")).keys() & others.keys()
        if taken and not overwrite:
            raise ConfigurationError(
                f"An entry named {taken.pop()!r} that Qiskit cannot read already exists in"
                f" {file_path(filename)}. overwrite=True replaces it."
            )


def _shown(saved: Mapping[str, Any]) -> dict[str, Any]:
    return {name: SecretStr(value) if name == "token" else value for name, value in saved.items()}


class RuntimeClient(AccountsClient):
    """Programs, jobs, sessions and backends of one Runtime service; an async context manager.

    Without arguments it uses the embedded service of this machine, started when needed; with a
    URL and a token, a team service; with a channel and a token, IBM Quantum.
    `from_saved_account` uses an account that Qiskit has saved.

    Args:
        url: Base of the service's API; None for the embedded service or, with a channel, IBM's.
        token: The user's token, or the API key.
        channel: "ibm_quantum_platform" or "ibm_cloud" for IBM Quantum, or for a compatible
            service at `url`. "ibm_quantum" is a team service.
        instance: The instance to use, if there are several: its CRN or, for IBM, its name.
        region: Consider only IBM's instances in this region, if `instance` is None.
        verify: Whether to verify TLS certificates, or the path of a certificate to trust.
        proxies: As in `{"urls": {"https": "http://proxy.example.org:3128"}}`.
        private_endpoint: Use the hosts of IBM's private network.
        settings: Home and time limits; read from the environment by default.

    Example:
        ```python
        from prefect_qiskit_runtime import RuntimeClient

        async with RuntimeClient() as client:
            program_id = await client.upload_program("hello_world.py")
            job = await client.run(program_id, {"iterations": 3}, callback=print)
            print(await job.result())
        ```
    """

    @classmethod
    def from_saved_account(
        cls,
        name: str | None = None,
        *,
        filename: str | None = None,
        channel: str | None = None,
        instance: str | None = None,
        region: str | None = None,
        verify: bool | None = None,
        proxies: ProxiesLike = None,
        private_endpoint: bool | None = None,
        settings: Settings | None = None,
    ) -> Self:
        """Return a client of IBM Quantum with an account saved by Qiskit or `save_account`.

        Without a name, the choice is that of `QiskitRuntimeService()`: QISKIT_IBM_TOKEN with
        QISKIT_IBM_URL and QISKIT_IBM_INSTANCE; else, of the channel (or QISKIT_IBM_CHANNEL), the
        account saved as default, the one under the channel's default name, or any other; else any.

        Args:
            name: The account's name.
            filename: The file; None for Qiskit's default file.
            channel: Consider only accounts of this channel, if no name is given.
            instance: Replaces the saved instance; the next arguments work the same way.
            region: As in the constructor.
            verify: As in the constructor.
            proxies: As in the constructor.
            private_endpoint: As in the constructor.
            settings: As in the constructor.

        Raises:
            ConfigurationError: On entering: no such account is saved, or it cannot be used.
        """
        account = SavedAccount(
            name=name,
            filename=filename,
            channel=channel,
            instance=instance,
            region=region,
            proxies=Proxies.read(proxies),
            verify=verify,
            private_endpoint=private_endpoint,
        )
        return cls.from_ibm_account(account, settings=settings)

    @classmethod
    def from_ibm_account(
        cls, account: IbmAccount | SavedAccount, *, settings: Settings | None = None
    ) -> Self:
        """Return a client of IBM Quantum for an account, or for a saved one."""
        client = cls.__new__(cls)
        client._talk_to(IbmApi(account, settings=settings))
        return client

    of_ibm = classmethod(old_method("of_ibm", "from_ibm_account"))
