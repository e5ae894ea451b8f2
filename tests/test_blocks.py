"""Blocks: built and loaded offline, complete for the Prefect UI, and strict about the service."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from prefect import get_client
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate
from pydantic import ValidationError
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import QuantumProgram

from prefect_qiskit_runtime import (
    AuthenticationError,
    ConfigurationError,
    IBMQuantumCredentials,
    RuntimeBackend,
    RuntimeOptions,
    RuntimeProgram,
    RuntimeServiceCredentials,
)
from prefect_qiskit_runtime.backend import as_backend
from prefect_qiskit_runtime.pubs.executor_inputs import ExecutorCall
from prefect_qiskit_runtime.pubs.primitive_inputs import PrimitiveCall
from prefect_qiskit_runtime.pubs.requests import program_requests, pub_requests
from tests.flow_processes import flow_environment

BLOCKS: list[type[Block]] = [
    IBMQuantumCredentials,
    RuntimeBackend,
    RuntimeProgram,
    RuntimeServiceCredentials,
]
TOKEN = "very-secret-token"
PREFECT = Path(sys.executable).with_name("prefect")


@pytest.fixture
def credentials() -> RuntimeServiceCredentials:
    return RuntimeServiceCredentials(url="https://runtime.example.org:8400", token=TOKEN)


@pytest.fixture
def ibm() -> IBMQuantumCredentials:
    return IBMQuantumCredentials(
        api_key=TOKEN, instance="open", region="eu-de", proxy_url=f"http://user:{TOKEN}@proxy:3128"
    )


class TestEveryBlock(BlockStandardTestSuite):
    """The requirements of Prefect for the blocks of its own integrations."""

    @pytest.fixture(params=BLOCKS, ids=lambda block: block.__name__)
    def block(self, request: pytest.FixtureRequest) -> type[Block]:
        return request.param

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        # The suite's own fetches it.
        assert str(block._logo_url).startswith("https://")

    def test_fields_that_are_blocks_are_described_too(self, block: type[Block]) -> None:
        for name, field in block.model_fields.items():
            assert (field.description or "").endswith("."), name


class TestBuildingTouchesNoNetwork:
    calls: ClassVar[list[object]] = []

    def test_of_any_block(
        self,
        monkeypatch: pytest.MonkeyPatch,
        credentials: RuntimeServiceCredentials,
        ibm: IBMQuantumCredentials,
    ) -> None:
        monkeypatch.setattr(socket.socket, "connect", lambda *a: self.calls.append(a))
        backend = RuntimeBackend(service="team", credentials=credentials)
        RuntimeProgram(program_id="p", backend=backend)
        RuntimeBackend(service="ibm", credentials=ibm).connect()
        credentials.get_client()
        ibm.get_client()
        assert self.calls == []


def test_no_secret_shows(
    credentials: RuntimeServiceCredentials, ibm: IBMQuantumCredentials
) -> None:
    assert TOKEN not in repr(credentials)
    assert TOKEN not in str(RuntimeBackend(service="team", credentials=credentials))
    assert TOKEN not in repr(ibm)
    assert TOKEN not in str(RuntimeBackend(service="ibm", credentials=ibm))
    assert TOKEN not in str(ibm.connect().__dict__)


@pytest.mark.parametrize("service", ["team", "ibm"])
def test_a_service_elsewhere_needs_credentials(service: Any) -> None:
    with pytest.raises(ValidationError, match=f"'{service}' needs credentials: pass a .* block"):
        RuntimeBackend(service=service)


def test_a_service_takes_no_credentials_of_another(
    credentials: RuntimeServiceCredentials, ibm: IBMQuantumCredentials
) -> None:
    with pytest.raises(ValidationError, match="pass a IBMQuantumCredentials block, not Runtime"):
        RuntimeBackend(service="ibm", credentials=credentials)
    with pytest.raises(ValidationError, match="pass a RuntimeServiceCredentials block, not IBM"):
        RuntimeBackend(service="team", credentials=ibm)


def test_the_embedded_service_takes_none(
    credentials: RuntimeServiceCredentials, ibm: IBMQuantumCredentials
) -> None:
    with pytest.raises(ValidationError, match="takes no credentials: set service='team'"):
        RuntimeBackend(service="embedded", credentials=credentials)
    with pytest.raises(ValidationError, match="takes no credentials: set service='ibm'"):
        RuntimeBackend(service="embedded", credentials=ibm)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"api_key": TOKEN, "account_name": "mine"}, "either api_key, or account_name"),
        ({"url": "https://own.org"}, "url needs api_key"),
        ({"api_key": TOKEN, "proxy_url": f"gopher://u:{TOKEN}@p"}, "cannot be used"),
    ],
)
def test_an_ibm_account_that_means_two_things_is_refused(wrong: dict[str, str], says: str) -> None:
    with pytest.raises((ValidationError, ConfigurationError), match=says) as caught:
        IBMQuantumCredentials(**wrong)
    assert TOKEN not in str(caught.value)


def test_all_fields_of_an_ibm_account_are_flat() -> None:
    # What Prefect's UI can edit: texts, choices and switches, or none of them.
    kinds = set()
    for field in IBMQuantumCredentials.model_json_schema()["properties"].values():
        for form in field.get("anyOf", [field]):
            assert "$ref" not in form
            kinds.add(form["type"])
    assert kinds == {"string", "boolean", "null"}


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


@pytest.mark.usefixtures("prefect_server")
def test_a_backend_of_ibm_comes_back_with_its_own_kind_of_credentials(
    ibm: IBMQuantumCredentials, credentials: RuntimeServiceCredentials
) -> None:
    ibm.save("ibm", overwrite=True)
    credentials.save("team", overwrite=True)
    # Saved as a whole, and with a reference to another document, as the UI does it.
    RuntimeBackend(name="ibm_fez", service="ibm", credentials=ibm).save("fez", overwrite=True)
    RuntimeBackend(
        name="ibm_fez", service="ibm", credentials=IBMQuantumCredentials.load("ibm")
    ).save("fez-by-reference", overwrite=True)
    for name in ("fez", "fez-by-reference"):
        loaded = RuntimeBackend.load(name)
        assert type(loaded.credentials) is IBMQuantumCredentials
        assert loaded.credentials == ibm
    # The same document, changed to another service.
    RuntimeBackend(
        name="fake_lima", service="team", credentials=RuntimeServiceCredentials.load("team")
    ).save("fez", overwrite=True)
    assert type(RuntimeBackend.load("fez").credentials) is RuntimeServiceCredentials


def test_the_picker_of_credentials_offers_both_kinds() -> None:
    schema = RuntimeBackend.model_json_schema()
    offered = {one["block_type_slug"] for one in schema["block_schema_references"]["credentials"]}
    assert offered == {"ibm-quantum-credentials", "qiskit-runtime-service-credentials"}


def test_loading_the_collections_of_prefect_defines_the_blocks_and_loads_no_qiskit() -> None:
    script = (
        "import json, sys\n"
        "from prefect.plugins import load_prefect_collections\n"
        "load_prefect_collections()\n"
        "from prefect.blocks.core import Block\n"
        "from prefect.utilities.dispatch import lookup_type\n"
        f"slugs = {[block._block_type_slug for block in BLOCKS]}\n"
        "names = [lookup_type(Block, slug).__name__ for slug in slugs]\n"
        "print(json.dumps([names, 'qiskit' in sys.modules]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    names, qiskit_loaded = json.loads(done.stdout)
    assert names == [block.__name__ for block in BLOCKS]
    assert qiskit_loaded is False


@pytest.mark.usefixtures("prefect_server")
def test_prefect_registers_the_blocks_of_the_package() -> None:
    done = subprocess.run(
        [PREFECT, "block", "register", "-m", "prefect_qiskit_runtime"],
        env=flow_environment(COLUMNS="200"),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    with get_client(sync_client=True) as client:
        for block in BLOCKS:
            assert block.get_block_type_name() in done.stdout
            saved = client.read_block_type_by_slug(block.get_block_type_slug())
            assert str(saved.logo_url) == str(block._logo_url)
            assert str(saved.documentation_url) == str(block._documentation_url)
            assert saved.code_example


@pytest.mark.usefixtures("service_home")
def test_a_team_service_runs_programs_with_its_credentials() -> None:
    from prefect_qiskit_runtime import run_program, upload_program

    upload_program.fn("def main(backend, user_messenger):\n    return 1\n", name="here")
    status = subprocess.run(
        [sys.executable, "-m", "prefect_qiskit_runtime.cli", "service", "status", "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    service = json.loads(status.stdout)
    token = Path(service["token_file"]).read_text().strip()
    credentials = RuntimeServiceCredentials(url=service["url"], token=token)
    backend = RuntimeBackend(name="fake_lima", service="team", credentials=credentials)
    program_id = upload_program.fn(
        "def main(backend, user_messenger):\n    return backend.name\n",
        name="there",
        backend=backend,
    )
    assert run_program.fn(program_id, backend=backend) == "fake_lima"
    wrong = RuntimeServiceCredentials(url=service["url"], token="wrong")
    with pytest.raises(AuthenticationError) as caught:
        run_program.fn(program_id, backend=RuntimeBackend(service="team", credentials=wrong))
    assert "wrong" not in str(caught.value).replace("is wrong", "")


@pytest.mark.parametrize("block", BLOCKS)
def test_the_parameter_of_a_deployment_may_refer_to_a_saved_block(block: type[Block]) -> None:
    def flow(given: Any) -> None: ...

    flow.__annotations__["given"] = block
    schema = parameter_schema(flow).model_dump_for_openapi()
    given = {"$ref": {"block_document_id": "7d5f3c1e-4f1d-4c39-9c0c-2b9f6a0f8f11"}}
    assert validate({"given": given}, schema) == []
    assert validate({"given": 5}, schema) != []


def test_settings_of_a_simulation_must_fit_together() -> None:
    with pytest.raises(ValidationError, match="limits matrix product states, but the simulation"):
        RuntimeBackend.model_validate({"simulation": {"method": "stabilizer", "truncation": 0.1}})
    with pytest.raises(ValidationError, match="'stabilizer' runs on the CPU only"):
        RuntimeBackend.model_validate({"simulation": {"method": "stabilizer", "device": "GPU"}})
    block = RuntimeBackend.model_validate({"simulation": {"bond_dimension": 8}})
    with pytest.raises(ConfigurationError, match="on the CPU only"):
        block.program_options({"simulation": {"method": "stabilizer", "device": "GPU"}})


def test_devices_of_ibm_simulate_nothing(ibm: IBMQuantumCredentials) -> None:
    simulation = {"method": "matrix_product_state"}
    with pytest.raises(ValidationError, match="simulation sets method, but the circuits of this"):
        RuntimeBackend.model_validate(
            {"service": "ibm", "credentials": ibm, "simulation": simulation}
        )
    with pytest.raises(ValidationError, match="simulation sets method, but the circuits of this"):
        RuntimeBackend.model_validate({"hardware_credentials": ibm, "simulation": simulation})
    hardware = RuntimeBackend(name="ibm_torino", hardware_credentials=ibm)
    with pytest.raises(ConfigurationError, match="the device ibm_torino of IBM Quantum, and"):
        hardware.program_options({"simulation": simulation})


async def test_calls_on_ibm_quantum_refuse_settings_of_a_simulation(
    ibm: IBMQuantumCredentials,
) -> None:
    backend = RuntimeBackend(name="ibm_torino", service="ibm", credentials=ibm)
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    options = {"simulator": {"method": "stabilizer", "max_memory_mb": 100}}
    words = "simulator.method, simulator.max_memory_mb cannot be used with IBM Quantum"
    call = PrimitiveCall("sampler", [circuit], options, 100, None, None, None)
    with pytest.raises(ConfigurationError, match=words):
        await pub_requests(call, backend, None, None)
    program = QuantumProgram(shots=20)
    program.append_circuit_item(circuit)
    with pytest.raises(ConfigurationError, match=words):
        await program_requests(ExecutorCall(program, options, None), backend, None, None)
    api: Any = backend.connect()
    asked = RuntimeOptions.read({"simulation": {"method": "stabilizer"}})
    with pytest.raises(ConfigurationError, match="simulation cannot be used with IBM Quantum"):
        await api.submit_job("sampler", "{}", backend="ibm_torino", options=asked)
