"""The client for people: the method names of the Qiskit Runtime services, without Prefect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import SecretStr

from prefect_qiskit_runtime.client._accounts import (
    IbmAccount,
    SavedAccount,
    explained,
    file_path,
    private_file,
)
from prefect_qiskit_runtime.client._backends import BackendsClient
from prefect_qiskit_runtime.client._proxies import Proxies, ProxiesLike
from prefect_qiskit_runtime.client.ibm.api import IbmApi
from prefect_qiskit_runtime.codec import seams
from prefect_qiskit_runtime.models import Instance, InstanceUsage
from prefect_qiskit_runtime.renamed import old_method
from prefect_qiskit_runtime.settings import Settings

_ANY_INSTANCE = "auto"


class AccountsClient(BackendsClient):
    """What the Qiskit Runtime services do with accounts and instances, for `RuntimeClient`."""

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
        with explained("save the account", filename):
            path = private_file(filename)
            seams.account_manager().save(
                token=token,
                url=url,
                instance=instance,
                channel=channel,
                filename=str(path),
                name=name,
                proxies=seams.saved_proxies(proxies),
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
        with explained("list the saved accounts", filename):
            if not file_path(filename).exists():
                return {}
            accounts = seams.account_manager().list(
                default=default, channel=channel, filename=str(file_path(filename)), name=name
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
        with explained("delete the account", filename):
            if not file_path(filename).exists():
                return False
            return seams.account_manager().delete(
                filename=str(file_path(filename)), name=name, channel=channel
            )


def _shown(saved: Mapping[str, Any]) -> dict[str, Any]:
    return {name: SecretStr(value) if name == "token" else value for name, value in saved.items()}


class RuntimeClient(AccountsClient):
    """Programs, jobs, sessions and backends of one Runtime service; an async context manager.

    Without arguments it is the embedded service of this machine, started when needed; with url
    and token a team's; with a channel and a token IBM Quantum. `from_saved_account` takes what
    qiskit has saved.

    Args:
        url: Base of the service's API; None for the embedded service or, with a channel, IBM's.
        token: The user's token, or the API key.
        channel: "ibm_quantum_platform" or "ibm_cloud" for IBM Quantum, and for a service that
            imitates it at `url`. "ibm_quantum" is a team's service.
        instance: The instance to use, where there are several: its CRN, for IBM also its name.
        region: Choose among IBM's instances of this region, where none is named.
        verify: Whether to verify TLS certificates, or the path of a certificate to trust.
        proxies: As in `{"urls": {"https": "http://proxy.example.org:3128"}}`.
        private_endpoint: Use the hosts that IBM's private network reaches.
        settings: Home, time limits; read from the environment by default.

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
        """Return a client of IBM Quantum with an account that qiskit, or `save_account`, saved.

        Without a name it is the one that `QiskitRuntimeService()` takes: QISKIT_IBM_TOKEN with
        QISKIT_IBM_URL and QISKIT_IBM_INSTANCE; else of the channel (or QISKIT_IBM_CHANNEL) the
        one saved as default, the one under the channel's default name, any other; else any.

        Args:
            name: The account's name.
            filename: The file; None for qiskit's own.
            channel: Choose among the accounts of this channel, where no name is given.
            instance: In place of the saved one, as are those that follow.
            region: As in the constructor.
            verify: As in the constructor.
            proxies: As in the constructor.
            private_endpoint: As in the constructor.
            settings: As in the constructor.

        Raises:
            ConfigurationError: On entering: there is none, or it cannot be used.
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
        """Return a client of IBM Quantum for an account that was read, or can be."""
        client = cls.__new__(cls)
        client._talk_to(IbmApi(account, settings=settings))
        return client

    of_ibm = classmethod(old_method("of_ibm", "from_ibm_account"))
