"""The client for people: the method names of the Qiskit Runtime services, without Prefect."""

from __future__ import annotations

from typing import Self

from prefect_qiskit_runtime.client._account import IbmAccount
from prefect_qiskit_runtime.client._accounts import AccountsClient
from prefect_qiskit_runtime.client._ibm import IbmApi
from prefect_qiskit_runtime.client._proxies import Proxies, ProxiesLike
from prefect_qiskit_runtime.client._saved_accounts import SavedAccount
from prefect_qiskit_runtime.settings import Settings


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
        return cls.of_ibm(account, settings=settings)

    @classmethod
    def of_ibm(
        cls, account: IbmAccount | SavedAccount, *, settings: Settings | None = None
    ) -> Self:
        """Return a client of IBM Quantum for an account that was read, or can be."""
        client = cls.__new__(cls)
        client._talk_to(IbmApi(account, settings=settings))
        return client
