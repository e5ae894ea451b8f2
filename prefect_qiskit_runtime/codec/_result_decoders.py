"""The choice of decoder for the results of a job: as given, the program's own, or the default.

A decoder is a class with a method `decode(text)`, such as `ResultDecoder`. It may be given as the
class, as a pair (for interim results, for the final result), or as an import path in text, which
is how forms of the Prefect UI set it.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Protocol, cast

from prefect_qiskit_runtime.codec._decoder import decode
from prefect_qiskit_runtime.errors import ConfigurationError, DecodingError, QiskitRuntimeError


class Decoder(Protocol):
    """Any class or instance with a `decode` method."""

    def decode(self, data: str) -> Any:
        """Turn encoded text into an object."""
        ...


DecoderLike = Decoder | type | str
ResultDecoderLike = DecoderLike | tuple[DecoderLike | None, DecoderLike | None] | None


@dataclass(frozen=True)
class Decoders:
    """The decoders of interim results and of the final result; None means the default."""

    interim: Decoder | None = None
    final: Decoder | None = None

    @classmethod
    def choose(cls, *candidates: ResultDecoderLike) -> Decoders:
        """Choose the first decoder that is given.

        Raises:
            ConfigurationError: An import path cannot be imported, or a value is not a decoder.
        """
        given = next((candidate for candidate in candidates if candidate), None)
        if isinstance(given, tuple | list):
            if len(given) != 2:
                raise ConfigurationError(
                    f"result_decoder takes one decoder or a pair (interim, final), not "
                    f"{len(given)} of them."
                )
            return cls(_load(given[0]), _load(given[1]))
        decoder = _load(given)
        return cls(decoder, decoder)

    def decode_interim(self, text: str) -> Any:
        """Decode one interim result."""
        return _decode(self.interim, text, "an interim result")

    def decode_final(self, text: str) -> Any:
        """Decode the final result."""
        return _decode(self.final, text, "the result")


def _load(decoder: DecoderLike | None) -> Decoder | None:
    if isinstance(decoder, str):
        decoder = _import(decoder)
    if decoder is not None and not callable(getattr(decoder, "decode", None)):
        raise ConfigurationError(
            f"result_decoder must have a decode(text) method, as ResultDecoder has; "
            f"{decoder!r:.80} has none."
        )
    return cast("Decoder | None", decoder)


def _import(path: str) -> Any:
    module_name, _, name = path.replace(":", ".").rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"result_decoder {path!r} cannot be imported ({error}). Write it as "
            f"'package.module:Class', importable where the flow runs."
        ) from error


def _decode(decoder: Decoder | None, text: str, what: str) -> Any:
    if decoder is None:
        return decode(text)
    try:
        return decoder.decode(text)
    except QiskitRuntimeError:
        raise
    except Exception as error:
        name = getattr(decoder, "__name__", type(decoder).__name__)
        raise DecodingError(
            f"Decoder {name} failed on {what} ({len(text)} characters): "
            f"{type(error).__name__}: {error}. The job itself is not affected: fetch it again "
            f"with another result_decoder."
        ) from error
