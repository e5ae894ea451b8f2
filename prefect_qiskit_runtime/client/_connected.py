"""The connection of `RuntimeClient`: which service, and what ends when the client is closed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from prefect_qiskit_runtime.client._api import RuntimeApi
from prefect_qiskit_runtime.client._connection import Channel, Connection, choose_api
from prefect_qiskit_runtime.client._delivery import Deliveries
from prefect_qiskit_runtime.client._proxies import ProxiesLike
from prefect_qiskit_runtime.client._transport import Verify
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.settings import Settings


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
        """Take back the token, if a login gave it; a user's own token stays good."""
        await self._api.logout()

    async def _require_instance(self, instance: str | None) -> None:
        """Refuse another instance than the one that every request of this client names."""
        used = self._api.instance
        if instance in (None, used):
            return
        if used is None:  # left to the service, which has one for each user
            used = (await self._api.list_instances())[0].crn
        if instance != used:
            raise ConfigurationError(
                f"This client works in the instance {used!r}, not in {instance!r}: make another"
                f" client with instance={instance!r} for it."
            )
