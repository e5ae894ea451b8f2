"""Blocks that hold the credentials of a Runtime service.

Creating, loading and saving them does not use the network. The embedded service needs none.
"""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, Self
from weakref import WeakKeyDictionary

from prefect.blocks.abstract import CredentialsBlock
from prefect.blocks.core import Block
from pydantic import (
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    HttpUrl,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from prefect_qiskit_runtime.errors import ConfigurationError, close_name
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

# Qiskit's picture, on a host that its blocks of other collections use. Prefect takes http addresses
# only, not data URIs.
LOGO_URL = HttpUrl("https://avatars.githubusercontent.com/u/30696987?s=200&v=4")


STRICT = ConfigDict(extra="forbid", validate_assignment=True, hide_input_in_errors=True)
"""The configuration of each block. Prefect's accepts any field, and errors then show the values of
fields, also of secret ones."""

# Names that Prefect adds to the fields of a block.
_OF_PREFECT = {"block_type_slug", "_block_document_id", "_block_document_name", "_is_anonymous"}

_is_loading: ContextVar[bool] = ContextVar("is_loading", default=False)

# The JSON schemas of each class, pickled: a copy takes 0.03 ms, a deep copy 0.24 ms.
_schemas: WeakKeyDictionary[type, dict[tuple[Any, ...], tuple[Any, bytes]]] = WeakKeyDictionary()


class StrictFields(BaseModel):
    """The fields of a block: unknown ones are refused, also when they are assigned.

    A document may have been saved by another version of this package: it loads, and a warning names
    the fields that this version does not have.
    """

    _ignored_fields: list[str] = PrivateAttr(default_factory=list)

    @model_validator(mode="wrap")
    @classmethod
    def _only_known_fields(cls, given: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, dict):
            return build(given)
        # As Prefect does, so that the fields of one kind of login are not read as another.
        slug = given.get("block_type_slug")
        if slug and issubclass(cls, Block) and slug != cls.get_block_type_slug():
            raise ValueError(f"these are the fields of a block of type {slug!r}")
        fields = {name: value for name, value in given.items() if name not in _OF_PREFECT}
        unknown = sorted(fields.keys() - cls.model_fields.keys())
        if unknown and not _is_loading.get():
            raise ValueError(cls._unknown_field(unknown[0]))
        built = build({name: value for name, value in fields.items() if name not in unknown})
        built._ignored_fields = unknown
        return built

    @staticmethod
    def require_fitting(faults: Iterable[str]) -> None:
        """Refuse fields that do not fit together, unless they come from a saved document.

        Raises:
            ValueError: There is a fault.
        """
        if not _is_loading.get():
            for fault in faults:
                raise ValueError(fault)

    def _warn_of_ignored_fields(self) -> None:
        """Warn about the fields of a document that were ignored, here and in blocks within."""
        for name in self._ignored_fields:
            warnings.warn(
                f"{self._unknown_field(name)} Its value in the saved document is ignored: it was"
                " saved by another version of prefect-qiskit-runtime, or by a program that misspelt"
                " the field. Save the block again to remove it.",
                stacklevel=4,
            )
        self._ignored_fields = []
        for inner in self.__dict__.values():
            if isinstance(inner, StrictFields):
                inner._warn_of_ignored_fields()

    @classmethod
    def _unknown_field(cls, name: str) -> str:
        return f"{cls.__name__} has no field {name!r}.{close_name(name, cls.model_fields)}"

    if not TYPE_CHECKING:  # type checkers know the fields better

        def __setattr__(self, name: str, value: Any) -> None:
            """Set a field after checking it; a refused value leaves the block unchanged."""
            if name.startswith("_") or name not in type(self).model_fields:
                if not name.startswith("_") and not hasattr(type(self), name):
                    raise AttributeError(self._unknown_field(name))
                super().__setattr__(name, value)
                return
            before = self.__dict__.copy()
            try:
                super().__setattr__(name, value)
            except ValidationError:
                # The validators of the whole block run after the value is set.
                object.__setattr__(self, "__dict__", before)
                raise

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy the block with changes. As in every pydantic model, their values are not checked.

        Raises:
            ConfigurationError: The block has no field of such a name.
        """
        for name in (update or {}).keys() - type(self).model_fields.keys() - _OF_PREFECT:
            raise ConfigurationError(self._unknown_field(name))
        return super().model_copy(update=update, deep=deep)

    @classmethod
    def model_validate(cls, obj: Any, **how: Any) -> Self:
        """Read a block from its fields, or from another block.

        Prefect calls this for saved documents too; only its calling function shows that.
        """
        is_document = sys._getframe(1).f_code.co_name == "_from_block_document"
        token = _is_loading.set(is_document or _is_loading.get())
        try:
            built = super().model_validate(obj, **how)
        finally:
            _is_loading.reset(token)
        if is_document:
            built._warn_of_ignored_fields()
        return built

    @classmethod
    def model_json_schema(cls, *args: Any, **how: Any) -> dict[str, Any]:
        """Return the JSON schema of the block, a copy of the one that was made first.

        To save a `RuntimeBackend`, Prefect asks for it about 150 times and for those of the blocks
        in it about 400 times (measured: 1.3 s of 1.4 s).
        """
        key = (args, tuple(sorted(how.items())))
        made = _schemas.setdefault(cls, {})
        core, pickled = made.get(key, (None, b""))
        if core is not cls.__pydantic_core_schema__:  # the class is new, or was rebuilt
            schema = super().model_json_schema(*args, **how)
            core, pickled = cls.__pydantic_core_schema__, pickle.dumps(schema)
            made[key] = core, pickled
        return pickle.loads(pickled)  # noqa: S301 - pickled above


class SecretFields(BaseModel):
    """The secrets of a block with a login."""

    def require_secrets(self) -> None:
        """Check that no secret was masked on its way to this process.

        Raises:
            ConfigurationError: A secret consists of asterisks.
        """
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr) and set(value.get_secret_value()) == {"*"}:
                raise ConfigurationError(
                    f"{name} of this {type(self).__name__} block consists of asterisks: Prefect"
                    " masks the secrets of a block that is passed by value, for example as a"
                    " parameter of run_deployment. Save the block and pass a reference:"
                    ' {"$ref": {"block_document_id": str(block.save("NAME"))}}.'
                )


class Referable:
    """A block without required fields that a deployment can refer to.

    For a parameter of a deployment, Prefect's server accepts *either* a reference to a saved block
    *or* the fields of a block. If the block has no required fields, a reference matches both and
    is refused, so this schema excludes it. Prefect's UI returns only the schema keywords that it
    knows, which include `allOf` but not `not`.
    """

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        handler.resolve_ref_schema(schema)["allOf"] = [{"not": {"required": ["$ref"]}}]
        return schema


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

    @model_validator(mode="after")
    def _one_source(self) -> IBMQuantumCredentials:
        if self.api_key is not None and (self.account_name or self.account_file):
            raise ValueError(
                "Set either api_key, or account_name and account_file, to choose one account."
            )
        if self.url is not None and self.api_key is None:
            raise ValueError(
                "url needs api_key: an account that is saved or set in variables has its own url."
            )
        if self.proxy_url is not None:
            from prefect_qiskit_runtime.client import Proxies

            Proxies.everywhere(self.proxy_url.get_secret_value())
        return self

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
        """Which account is meant; a saved one is read when a connection is opened."""
        self.require_secrets()
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
