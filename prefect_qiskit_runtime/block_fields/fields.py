"""The base classes of the blocks, which check, load and describe their fields."""

from __future__ import annotations

import pickle
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakKeyDictionary

from prefect.blocks.core import Block
from pydantic import (
    BaseModel,
    ConfigDict,
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

# Qiskit's picture, on a host that its blocks of other collections use. Prefect takes http addresses
# only, not data URIs.
LOGO_URL = HttpUrl("https://avatars.githubusercontent.com/u/30696987?s=200&v=4")


STRICT = ConfigDict(extra="forbid", validate_assignment=True, hide_input_in_errors=True)
"""The configuration of each block. Prefect's accepts any field, and errors then show the values of
fields, even of secret ones."""

# Names that Prefect adds to the fields of a block.
_OF_PREFECT = {"block_type_slug", "_block_document_id", "_block_document_name", "_is_anonymous"}

# Prefect's function that builds a block from a saved document. Only the caller shows that fields
# come from a document: `Block.load("SLUG/NAME")` calls the function on `Block`, which an override
# in a subclass does not reach, and the fields look like those of any other call.
_READER_OF_DOCUMENTS = Block._from_block_document.__func__.__code__  # type: ignore[attr-defined]

_is_loading: ContextVar[bool] = ContextVar("is_loading", default=False)


def is_loading_document() -> bool:
    """Return whether the block that is being built comes from a saved document."""
    return _is_loading.get()


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

    def _faults(self) -> Iterator[str]:
        """Yield what is wrong with the fields taken together."""
        yield from ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """Refuse fields that do not fit together, unless they come from a saved document."""
        if not is_loading_document():
            for fault in self._faults():
                raise ValueError(fault)
        return self

    def require_usable(self) -> None:
        """Check that the fields of the block, and of the blocks in it, fit together.

        Forms of Prefect's UI and other versions of this package may save a block with fields that
        do not fit together. It loads, and the error is raised when the block is used.

        Raises:
            ConfigurationError: The fields do not fit together.
        """
        for fault in self._faults():
            saved_name = getattr(self, "_block_document_name", None)
            name = f" {saved_name!r}" if saved_name else ""
            raise ConfigurationError(
                f"The {type(self).__name__} block{name} cannot be used: {fault}"
            )
        for inner in self.__dict__.values():
            if isinstance(inner, StrictFields):
                inner.require_usable()

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

        Prefect calls this for saved documents too (see `_READER_OF_DOCUMENTS`).
        """
        is_document = sys._getframe(1).f_code is _READER_OF_DOCUMENTS
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
