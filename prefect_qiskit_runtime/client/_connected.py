"""The connection of `RuntimeClient`: which service it uses, and what closing it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from prefect_qiskit_runtime.client._accounts import IbmAccount
from prefect_qiskit_runtime.client._api import RuntimeApi
from prefect_qiskit_runtime.client._delivery import Deliveries
from prefect_qiskit_runtime.client._embedded import embedded_api
from prefect_qiskit_runtime.client._proxies import Proxies, ProxiesLike
from prefect_qiskit_runtime.client._transport import Verify
from prefect_qiskit_runtime.client.ibm.api import IbmApi
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.settings import Settings

Channel = Literal["ibm_quantum_platform", "ibm_cloud", "ibm_quantum"]
"""The names that the Qiskit Runtime clients use for kinds of accounts."""


@dataclass(frozen=True)
class Connection:
    """The arguments of `RuntimeClient`."""

    url: str | None
    token: str | None = field(repr=False)
    channel: Channel | None
    instance: str | None
    region: str | None
    verify: Verify
    proxies: ProxiesLike
    private_endpoint: bool
    settings: Settings | None


def choose_api(asked: Connection) -> RuntimeApi:
    """Return the API of the requested service, without sending a request.

    Raises:
        ConfigurationError: Arguments are missing, or cannot be combined.
    """
    if asked.channel in ("ibm_quantum_platform", "ibm_cloud"):
        return _ibm(asked)
    if asked.channel not in (None, "ibm_quantum"):
        raise ConfigurationError(
            f"The channel {asked.channel!r} does not exist: use 'ibm_quantum_platform',"
            " 'ibm_cloud' or 'ibm_quantum', or omit it."
        )
    if asked.channel == "ibm_quantum" and asked.url is None:
        raise ConfigurationError(
            "IBM closed the channel 'ibm_quantum' in 2025. Use 'ibm_quantum_platform' with an API"
            " key of IBM Cloud, or give the url of a team's service."
        )
    if (asked.url is None) != (asked.token is None):
        raise ConfigurationError(
            "Give both url and token, or neither for the embedded service of this machine. For IBM"
            " Quantum, give a token and channel='ibm_quantum_platform'."
        )
    if asked.url is None or asked.token is None:
        return embedded_api(asked.settings)
    return RuntimeApi(
        asked.url,
        asked.token,
        instance=asked.instance,
        verify=asked.verify,
        proxies=Proxies.read(asked.proxies),
        settings=asked.settings,
    )


def _ibm(asked: Connection) -> IbmApi:
    if not asked.token:
        raise ConfigurationError(
            f"The channel {asked.channel!r} needs a token: an API key of IBM Cloud. For an account"
            " that qiskit has saved, or one in the environment, use"
            f" RuntimeClient.from_saved_account(channel={asked.channel!r})."
        )
    account = IbmAccount(
        asked.token,
        instance=asked.instance,
        url=asked.url,
        region=asked.region,
        private_endpoint=asked.private_endpoint,
        proxies=Proxies.read(asked.proxies),
        verify=asked.verify,
        channel=asked.channel or "ibm_quantum_platform",
    )
    return IbmApi(account, settings=asked.settings)


class ConnectedClient:
    """A client of one Runtime service; an async context manager."""

    _deliveries_kind: type[Deliveries] = Deliveries

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        channel: Channel | None = None,
        instance: str | None = None,
        region: str | None = None,
        verify: Verify = True,
        proxies: ProxiesLike = None,
        private_endpoint: bool = False,
        settings: Settings | None = None,
    ) -> None:
        api = choose_api(
            Connection(
                url, token, channel, instance, region, verify, proxies, private_endpoint, settings
            )
        )
        self._talk_to(api)

    def _talk_to(self, api: RuntimeApi) -> None:
        self._api = api
        self._configurations: dict[str, Mapping[str, Any]] = {}
        self._deliveries = self._deliveries_kind()

    async def __aenter__(self) -> Self:
        await self._api.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._deliveries.close()
        await self._api.__aexit__(*exc_info)

    async def logout(self) -> None:
        """Make the service read this user's rights again; the token stays valid.

        With IBM Quantum, the next request logs in again.
        """
        await self._api.logout()

    async def _require_instance(self, instance: str | None) -> None:
        """Raise if `instance` is not the one that every request of this client names."""
        used = self._api.instance
        if instance in (None, used):
            return
        if used is None:  # the service chooses: it has one for each user
            used = (await self._api.list_instances())[0].crn
        if instance != used:
            raise ConfigurationError(
                f"This client works in the instance {used!r}, not in {instance!r}: make another"
                f" client with instance={instance!r} for it."
            )
