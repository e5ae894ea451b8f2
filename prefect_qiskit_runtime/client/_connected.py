"""The connection of `RuntimeClient`: which service, and what ends when the client is closed."""

from __future__ import annotations

from typing import Self

from prefect_qiskit_runtime.client._api import RuntimeApi
from prefect_qiskit_runtime.client._delivery import Deliveries
from prefect_qiskit_runtime.client._embedded import embedded_api
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
        instance: str | None = None,
        verify: Verify = True,
        settings: Settings | None = None,
    ) -> None:
        if (url is None) != (token is None):
            raise ConfigurationError(
                "Give both url and token, or neither for the embedded service of this machine."
            )
        self._api: RuntimeApi
        if url is None or token is None:
            self._api = embedded_api(settings)
        else:
            self._api = RuntimeApi(url, token, instance=instance, verify=verify, settings=settings)
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

    def _check_instance(self, instance: str | None) -> None:
        """Refuse another instance than the one that every request of this client names."""
        if instance is not None and instance != self._api.instance:
            works_in = self._api.instance or "the service's default instance"
            raise ConfigurationError(
                f"This client works in {works_in}, not in {instance}: make another client with"
                f" instance={instance!r} for it."
            )
