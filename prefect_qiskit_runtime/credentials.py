"""Blocks that hold the credentials of a Runtime service.

Creating, loading and saving them does not use the network. The embedded service needs none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from prefect.blocks.abstract import CredentialsBlock
from pydantic import AnyHttpUrl, Field, HttpUrl, SecretStr

from prefect_qiskit_runtime.block_fields.fields import (
    LOGO_URL,
    STRICT,
    Referable,
    SecretFields,
    StrictFields,
)
from prefect_qiskit_runtime.errors import ConfigurationError
from prefect_qiskit_runtime.renamed import old_method
from prefect_qiskit_runtime.twins.sync import blocking

if TYPE_CHECKING:
    from prefect_qiskit_runtime.client import (
        IbmAccount,
        IbmApi,
        RuntimeApi,
        RuntimeClient,
        SavedAccount,
    )


class RuntimeServiceCredentials(  # pyright: ignore[reportIncompatibleMethodOverride] - Prefect's of pydantic's
    StrictFields, SecretFields, CredentialsBlock
):
    """The address of a team's Runtime service and the token to log in with.

    Example:
        Load saved credentials:
        ```python
        from prefect_qiskit_runtime import RuntimeServiceCredentials

        credentials = RuntimeServiceCredentials.load("BLOCK_NAME")
        ```
    """

    model_config = STRICT

    _block_type_name = "Qiskit Runtime Service Credentials"
    _block_type_slug = "qiskit-runtime-service-credentials"
    _logo_url = LOGO_URL
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    url: AnyHttpUrl = Field(
        title="Address",
        description="Address of the service, from its administrator.",
        examples=["https://runtime.example.org:8400"],
    )
    token: SecretStr = Field(title="Token", description="Your personal token for this service.")
    instance: str | None = Field(
        default=None,
        title="Instance",
        description="Instance to work in; empty for the service's default.",
    )
    verify_tls: bool = Field(
        default=True,
        title="Check certificates",
        description="Whether to check the service's certificate. Disable for tests only.",
    )

    def connect(self) -> RuntimeApi:
        """The service's endpoints, logged in; an async context manager."""
        self.require_secrets()
        from prefect_qiskit_runtime.client import RuntimeApi

        return RuntimeApi(
            str(self.url).rstrip("/"),
            self.token.get_secret_value(),
            instance=self.instance,
            verify=self.verify_tls,
        )

    api = old_method("api", "connect")

    def get_client(self) -> RuntimeClient:
        """A client of this service that works without Prefect; an async context manager."""
        self.require_secrets()
        from prefect_qiskit_runtime.client import RuntimeClient

        return RuntimeClient(
            url=str(self.url).rstrip("/"),
            token=self.token.get_secret_value(),
            instance=self.instance,
            verify=self.verify_tls,
        )


class IBMQuantumCredentials(  # pyright: ignore[reportIncompatibleMethodOverride] - as above
    Referable, StrictFields, SecretFields, CredentialsBlock
):
    """An IBM Quantum API key and the instance to use, or the name of an account saved by qiskit.

    Example:
        Load saved credentials:
        ```python
        from prefect_qiskit_runtime import IBMQuantumCredentials

        credentials = IBMQuantumCredentials.load("BLOCK_NAME")
        ```
    """

    model_config = STRICT

    _block_type_name = "IBM Quantum Credentials"
    _block_type_slug = "ibm-quantum-credentials"
    _logo_url = LOGO_URL
    _documentation_url = HttpUrl("https://quantum.cloud.ibm.com/docs/guides/cloud-setup")

    api_key: SecretStr | None = Field(
        default=None,
        title="API key",
        description="IBM Cloud API key; empty for an account that is saved or set in variables.",
    )
    instance: str | None = Field(
        default=None,
        title="Instance",
        description=(
            "CRN or name of the instance for the jobs; empty if the account has only one."
        ),
        examples=["crn:v1:bluemix:public:quantum-computing:us-east:a/ACCOUNT:INSTANCE::"],
    )
    region: Literal["us-east", "eu-de"] | None = Field(
        default=None,
        title="Region",
        description="Region to choose an instance from, if none is named above.",
    )
    url: AnyHttpUrl | None = Field(
        default=None,
        title="Address",
        description=(
            "Another service with the same API as IBM's, such as one for tests; empty for IBM's. "
            "The key is sent to this address only."
        ),
        examples=["http://127.0.0.1:8400/api/v1"],
    )
    account_name: str | None = Field(
        default=None,
        title="Saved account",
        description=(
            "Name of an account that qiskit has saved on the machine where the flow runs. Without "
            "a key or a name, the account is the one that `QiskitRuntimeService()` uses: from the "
            "variables QISKIT_IBM_TOKEN, QISKIT_IBM_URL and QISKIT_IBM_INSTANCE, or else the "
            "default saved account."
        ),
    )
    account_file: str | None = Field(
        default=None,
        title="File of saved accounts",
        description="Path of the file with the saved account; empty for qiskit's default file.",
    )
    proxy_url: SecretStr | None = Field(
        default=None,
        title="Proxy",
        description=("Proxy for all connections, for example http://user:password@proxy:3128."),
    )
    private_endpoint: bool = Field(
        default=False,
        title="Private endpoint",
        description="Whether to use the hosts for IBM's private network.",
    )
    verify_tls: bool = Field(
        default=True,
        title="Check certificates",
        description="Whether to check certificates. Disable for tests only.",
    )

    def _faults(self) -> Iterator[str]:
        if self.api_key is not None and (self.account_name or self.account_file):
            yield "Set either api_key, or account_name and account_file, to choose one account."
        if self.url is not None and self.api_key is None:
            yield "url needs api_key: an account that is saved or set in variables has its own url."
        if self.proxy_url is not None:
            from prefect_qiskit_runtime.client import Proxies

            try:
                Proxies.everywhere(self.proxy_url.get_secret_value())
            except ConfigurationError as error:
                yield f"proxy_url is wrong: {error}"

    def connect(self) -> IbmApi:
        """The service's endpoints, logged in; an async context manager."""
        from prefect_qiskit_runtime.client import IbmApi

        return IbmApi(self.account())

    api = old_method("api", "connect")

    async def averify(self) -> str:
        """Log in and send the instance a request that is free of charge.

        Returns:
            A sentence that describes what the account can use.

        Raises:
            QiskitRuntimeError: The login failed; the message names the cause: the key, the
                instance, the network, or the clock of this machine.
        """
        from prefect_qiskit_runtime.client import verify_account

        return await verify_account(self.account())

    verify = blocking(averify)

    def get_client(self) -> RuntimeClient:
        """A client of this service that works without Prefect; an async context manager."""
        from prefect_qiskit_runtime.client import RuntimeClient

        return RuntimeClient.from_ibm_account(self.account())

    def account(self) -> IbmAccount | SavedAccount:
        """Which account is meant; a saved one is read when a connection is opened.

        Raises:
            ConfigurationError: The block was saved with fields that do not fit together, or a
                secret is masked.
        """
        self.require_secrets()
        self.require_usable()
        from prefect_qiskit_runtime.client import IbmAccount, Proxies, SavedAccount

        proxies = None
        if self.proxy_url is not None:
            proxies = Proxies.everywhere(self.proxy_url.get_secret_value())
        if self.api_key is None:
            return SavedAccount(
                name=self.account_name,
                filename=self.account_file,
                instance=self.instance,
                region=self.region,
                proxies=proxies,
                # Settings that the block does not change keep their saved values.
                verify=None if self.verify_tls else False,
                private_endpoint=self.private_endpoint or None,
            )
        return IbmAccount(
            self.api_key.get_secret_value(),
            instance=self.instance,
            url=None if self.url is None else str(self.url).rstrip("/"),
            region=self.region,
            proxies=proxies,
            verify=self.verify_tls,
            private_endpoint=self.private_endpoint,
        )
