"""Blocks: built and loaded offline, complete for the Prefect UI, and strict about the service."""

from __future__ import annotations

import socket
from typing import ClassVar

import pytest
from prefect.blocks.core import Block
from pydantic import ValidationError

from prefect_qiskit_runtime import (
    ConfigurationError,
    RuntimeBackend,
    RuntimeProgram,
    RuntimeServiceCredentials,
)
from prefect_qiskit_runtime.backend import as_backend

BLOCKS: list[type[Block]] = [RuntimeBackend, RuntimeProgram, RuntimeServiceCredentials]
TOKEN = "very-secret-token"


@pytest.fixture
def credentials() -> RuntimeServiceCredentials:
    return RuntimeServiceCredentials(url="https://runtime.example.org:8400", token=TOKEN)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
class TestEveryBlock:
    def test_has_a_description_and_an_example(self, block: type[Block]) -> None:
        assert block.get_description()
        example = block.get_code_example() or ""
        assert f"import {block.__name__}" in example
        assert f'{block.__name__}.load("BLOCK_NAME")' in example

    def test_every_field_is_described_in_a_sentence(self, block: type[Block]) -> None:
        for name, field in block.model_fields.items():
            assert (field.description or "").endswith("."), name


class TestBuildingTouchesNoNetwork:
    calls: ClassVar[list[object]] = []

    def test_of_any_block(
        self, monkeypatch: pytest.MonkeyPatch, credentials: RuntimeServiceCredentials
    ) -> None:
        monkeypatch.setattr(socket.socket, "connect", lambda *a: self.calls.append(a))
        backend = RuntimeBackend(service="team", credentials=credentials)
        RuntimeProgram(program_id="p", backend=backend)
        credentials.get_client()
        assert self.calls == []


def test_a_token_does_not_show(credentials: RuntimeServiceCredentials) -> None:
    assert TOKEN not in repr(credentials)
    assert TOKEN not in str(RuntimeBackend(service="team", credentials=credentials))


def test_a_team_service_needs_credentials() -> None:
    with pytest.raises(ValidationError, match="needs credentials"):
        RuntimeBackend(service="team")


def test_the_embedded_service_takes_none(credentials: RuntimeServiceCredentials) -> None:
    with pytest.raises(ValidationError, match="takes no credentials"):
        RuntimeBackend(service="embedded", credentials=credentials)


def test_a_name_means_the_embedded_service() -> None:
    backend = as_backend("fake_manila")
    assert (backend.name, backend.service) == ("fake_manila", "embedded")


def test_what_is_no_backend_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="not int: 3"):
        as_backend(3)  # type: ignore[arg-type]


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="shots"):
        RuntimeBackend().options({"shots": 3})


@pytest.mark.usefixtures("prefect_server")
def test_blocks_are_saved_and_loaded_with_what_they_hold(
    credentials: RuntimeServiceCredentials,
) -> None:
    credentials.save("team", overwrite=True)
    RuntimeBackend(name="fake_lima", service="team", credentials=credentials).save(
        "lima", overwrite=True
    )
    loaded = RuntimeBackend.load("lima")
    assert (loaded.name, loaded.service) == ("fake_lima", "team")
    assert loaded.credentials is not None
    assert loaded.credentials.token.get_secret_value() == TOKEN
