"""Misspelt fields and options are refused with the close name; saved documents still load."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from prefect import flow, get_client
from prefect.blocks.core import Block
from prefect.client.schemas.actions import BlockDocumentUpdate
from pydantic import SecretStr, ValidationError

from prefect_qiskit_runtime import (
    ConfigurationError,
    IBMQuantumCredentials,
    InvalidInputError,
    RuntimeBackend,
    RuntimeOptions,
    RuntimeProgram,
    RuntimeServiceCredentials,
    arun_sampler,
    run_estimator,
    run_executor,
    run_sampler,
)
from prefect_qiskit_runtime.models import Simulation
from prefect_qiskit_runtime.program.primitive_options import known_options
from tests.circuits import bell, flip
from tests.simulated_ibm import ibm_backend

LOGIN: dict[str, Any] = {"url": "https://runtime.example.org", "token": "t"}


@pytest.mark.parametrize(
    ("block", "fields", "misspelt", "close"),
    [
        (RuntimeBackend, {}, "max_qpu_seconds_per_cal", "max_qpu_seconds_per_call"),
        (RuntimeBackend, {}, "default_shot", "default_shots"),
        (RuntimeProgram, {"program_id": "p"}, "inputz", "inputs"),
        (IBMQuantumCredentials, {}, "apikey", "api_key"),
        (RuntimeServiceCredentials, LOGIN, "verify", "verify_tls"),
    ],
)
def test_a_misspelt_field_of_a_block_is_refused(
    block: type[Block], fields: dict[str, Any], misspelt: str, close: str
) -> None:
    message = f"has no field '{misspelt}'. Did you mean '{close}'"
    with pytest.raises(ValidationError, match=message):
        block(**fields, **{misspelt: 1})
    with pytest.raises(ValidationError, match=message):
        block.model_validate({**fields, misspelt: 1})
    built = block(**fields)
    with pytest.raises(AttributeError, match=message):
        setattr(built, misspelt, 1)
    with pytest.raises(ConfigurationError, match=message):
        built.model_copy(update={misspelt: 1})


@pytest.mark.parametrize(
    ("options", "misspelt", "close"),
    [
        (RuntimeOptions(), "max_execution_tim", "max_execution_time"),
        (Simulation(), "bond_dim", "bond_dimension"),
    ],
)
def test_a_misspelt_option_is_refused_in_a_copy(
    options: RuntimeOptions | Simulation, misspelt: str, close: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"'{misspelt}'. Did you mean '{close}'"):
        options.model_copy(update={misspelt: 1})
    assert options.model_copy(update={close: 1}) != options


def test_a_misspelt_option_of_the_simulation_is_refused_with_the_close_name() -> None:
    with pytest.raises(
        ConfigurationError, match=r"'simulation.bond_dim': .* Did you mean 'bond_dimension'"
    ):
        RuntimeOptions.read({"simulation": {"bond_dim": 2}})


def test_a_misspelt_field_of_a_block_within_a_block_is_refused() -> None:
    with pytest.raises(ValidationError, match="Did you mean 'instance'"):
        RuntimeBackend.model_validate(
            {"service": "team", "credentials": {**LOGIN, "instanz": "open"}}
        )


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        (RuntimeServiceCredentials, {**LOGIN, "token": "very-secret", "verify": 1}),
        (IBMQuantumCredentials, {"api_key": "very-secret", "apikey": "very-secret"}),
        (IBMQuantumCredentials, {"api_key": "very-secret", "account_name": "mine"}),
        (RuntimeBackend, {"service": "team", "credentials": {"token": "very-secret"}}),
    ],
)
def test_a_refusal_shows_no_secret(block: type[Block], fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        block(**fields)
    assert "very-secret" not in str(caught.value)


def test_a_misspelt_field_of_a_parameter_of_a_flow_is_refused() -> None:
    @flow
    def taking(backend: RuntimeBackend) -> None: ...

    with pytest.raises(Exception, match="Did you mean 'max_qpu_seconds_per_call'"):
        taking.validate_parameters({"backend": {"max_qpu_seconds_per_cal": 0.001}})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_qpu_seconds_per_call", "x"),
        ("attempts", 0),
        ("service", "elsewhere"),
        ("service", "ibm"),  # without credentials
        ("hardware_max_seconds", 5),  # without credentials for hardware
        ("min_num_qubits", 3),  # of a backend that is named
    ],
)
def test_an_assigned_value_is_checked_and_a_refused_one_changes_nothing(
    field: str, value: Any
) -> None:
    backend = RuntimeBackend(name="fake_manila", tags=["a"])
    before = backend.model_dump()
    with pytest.raises(ValidationError):
        setattr(backend, field, value)
    assert backend.model_dump() == before
    backend.max_qpu_seconds_per_call = 2
    assert backend.max_qpu_seconds_per_call == 2.0


def test_a_block_survives_what_prefect_does_to_it() -> None:
    backend = RuntimeBackend(
        service="team", credentials=RuntimeServiceCredentials(**LOGIN), tags=["a"]
    )
    assert pickle.loads(pickle.dumps(backend)) == backend == copy.deepcopy(backend)
    dumped = backend.model_dump(context={"include_secrets": True})
    assert RuntimeBackend.model_validate(dumped) == backend
    assert Block.model_validate.__func__ is not RuntimeBackend.model_validate.__func__  # type: ignore[attr-defined]


# --- saved documents -----------------------------------------------------------------------------


async def add_fields(document_id: Any, fields: dict[str, Any]) -> None:
    """Change a document as another version of the package would have saved it."""
    async with get_client() as client:
        await client.update_block_document(
            document_id, BlockDocumentUpdate(data=fields, merge_existing_data=True)
        )


@pytest.mark.usefixtures("prefect_server")
async def test_a_document_of_another_version_loads_with_a_warning() -> None:
    credentials = RuntimeServiceCredentials(**LOGIN)
    await credentials.asave("login-of-another", overwrite=True)
    saved = RuntimeBackend(service="team", credentials=credentials, default_shots=7)
    document_id = await saved.asave("of-another-version", overwrite=True)
    login = {"$ref": {"block_document_id": str(credentials._block_document_id)}}
    await add_fields(document_id, {"colour": "red", "credentials": login})
    await add_fields(credentials._block_document_id, {"tenant": "a"})

    slug = "qiskit-runtime-backend/of-another-version"
    for load in (
        lambda: RuntimeBackend.aload("of-another-version"),
        lambda: Block.aload(slug),
        lambda: Block.aload_from_ref({"block_document_id": document_id}),
    ):
        with pytest.warns(UserWarning, match="has no field") as warned:
            loaded = await load()
        assert isinstance(loaded, RuntimeBackend)
        assert (loaded.default_shots, loaded.credentials) == (7, credentials)
        messages = " ".join(str(one.message) for one in warned)
        assert "RuntimeBackend has no field 'colour'" in messages
        assert "RuntimeServiceCredentials has no field 'tenant'" in messages
        with pytest.raises(ValidationError, match="has no field 'colour'"):
            RuntimeBackend.model_validate({"colour": "red"})


def test_only_prefects_reader_of_documents_makes_fields_lenient() -> None:
    def _from_block_document(fields: dict[str, Any]) -> RuntimeBackend:
        return RuntimeBackend.model_validate(fields)

    with pytest.raises(ValidationError, match="has no field 'colour'"):
        _from_block_document({"colour": "red"})


# --- options of primitives -----------------------------------------------------------------------


@pytest.mark.parametrize("unsupported", ["refuse", "record"])
@pytest.mark.parametrize(
    ("options", "unknown", "close"),
    [
        ({"default_shot": 5}, "default_shot", "default_shots"),
        ({"twirling": {"enable_gate": True}}, "twirling.enable_gate", "twirling.enable_gates"),
        ({"enable_gates": True}, "enable_gates", "twirling.enable_gates"),
        ({"twirlin": {"enable_gates": True}}, "twirlin.enable_gates", "twirling.enable_gates"),
        ({"simulator": {"seed": 5}}, "simulator.seed", "simulator.seed_simulator"),
    ],
)
def test_an_unknown_option_of_a_primitive_is_refused(
    unsupported: Any, options: dict[str, Any], unknown: str, close: str
) -> None:
    backend = RuntimeBackend(unsupported_options=unsupported)
    message = f"no option '{unknown}'. Did you mean '{close}'"
    with pytest.raises(InvalidInputError, match=message) as caught:
        run_sampler.fn([flip()], backend=backend, options=options)
    assert caught.value.path == f"$.options.{unknown}"
    with pytest.raises(InvalidInputError, match=message):
        run_estimator.fn([(bell(), "ZZ")], backend=backend, options=options)


def test_and_on_ibm_quantum_too_before_anything_is_sent() -> None:
    backend = ibm_backend("http://127.0.0.1:1", "key")
    with pytest.raises(InvalidInputError, match="Did you mean 'default_shots'"):
        run_sampler.fn([flip()], backend=backend, options={"default_shot": 5})


def test_an_unknown_option_of_the_block_is_refused() -> None:
    backend = RuntimeBackend(sampler_options={"execution": {"rep_dela": 1}})
    with pytest.raises(InvalidInputError, match=r"Did you mean 'execution\.rep_delay'"):
        run_sampler.fn([flip()], backend=backend)


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:1"])
@pytest.mark.parametrize("options", [{"executoin": {}}, {"execution": {"rep_dela": 1.0}}])
def test_an_unknown_option_of_the_executor_is_refused(
    url: str | None, options: dict[str, Any]
) -> None:
    from qiskit_ibm_runtime.quantum_program import QuantumProgram

    program = QuantumProgram(shots=5)
    program.append_circuit_item(flip())
    backend = RuntimeBackend(unsupported_options="record") if url is None else ibm_backend(url, "k")
    with pytest.raises(InvalidInputError, match=r"no option .* Did you mean 'execution"):
        run_executor.fn(program, backend=backend, options=options)


def test_every_option_of_the_installed_qiskit_ibm_runtime_is_known() -> None:
    from prefect_qiskit_runtime.codec import seams

    assert seams.option_names() - known_options() == set()


def test_an_unknown_option_of_a_job_is_refused_with_the_close_name() -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'max_execution_time'"):
        RuntimeOptions.read({"max_execution_tim": 5})


# --- blocks that cannot be used ------------------------------------------------------------------


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"service": "ibm"}, "service='ibm' needs credentials: pass a IBMQuantumCredentials block"),
        ({"min_num_qubits": 5}, "min_num_qubits choose among backends"),
        ({"hardware_max_seconds": 5}, "hardware_max_seconds needs hardware_credentials"),
    ],
)
async def test_a_saved_block_that_cannot_be_used_says_so_in_the_state_of_the_flow_run(
    fields: dict[str, Any], fault: str
) -> None:
    """Forms of Prefect's UI save blocks that Python would refuse to build."""
    document_id = await RuntimeBackend(name="fake_manila").asave("unusable", overwrite=True)
    await add_fields(document_id, fields)

    @flow
    async def sampling(by: str) -> None:
        await arun_sampler([flip()], backend=await RuntimeBackend.aload(by), shots=5)

    state = await sampling("unusable", return_state=True)
    assert state.message is not None
    assert "ConfigurationError: The RuntimeBackend block 'unusable' cannot be used: " in str(
        state.message
    )
    assert fault in state.message
    assert len(state.message.splitlines()) == 1


UNFITTING: list[tuple[Block, dict[str, Any], Callable[[Any], Any], str]] = [
    (
        IBMQuantumCredentials(api_key=SecretStr("k")),
        {"account_name": "mine"},
        lambda block: block.account(),
        "Set either api_key, or account_name and account_file, to choose one account.",
    ),
    (
        IBMQuantumCredentials(),
        {"url": "https://own.example.org"},
        lambda block: block.get_client(),
        "url needs api_key: an account that is saved or set in variables has its own url.",
    ),
    (
        IBMQuantumCredentials(),
        {"proxy_url": "gopher://user:hidden@proxy"},
        lambda block: block.connect(),
        "proxy_url is wrong: ",
    ),
    (
        RuntimeProgram(program_id="p"),
        {"source": "program.py"},
        lambda block: block.upload(),
        "Give either program_id or source, to say which program to run.",
    ),
    (
        RuntimeBackend(),
        {"default_shots": 5, "default_precision": 0.1},
        lambda block: block.connect(),
        "default_shots and default_precision exclude each other",
    ),
    (
        RuntimeBackend(),
        {"simulation": {"method": "statevector", "bond_dimension": 5}},
        lambda block: block.connect(),
        "bond_dimension limits matrix product states",
    ),
]


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(("block", "fields", "use", "fault"), UNFITTING)
async def test_a_saved_block_with_contradictory_fields_loads_and_names_them_when_it_is_used(
    block: Any, fields: dict[str, Any], use: Callable[[Any], Any], fault: str
) -> None:
    await add_fields(await block.asave("unfitting", overwrite=True), fields)
    loaded = await type(block).aload("unfitting")
    with pytest.raises(ConfigurationError) as caught:
        await asyncio.to_thread(use, loaded)
    says = f"The {type(block).__name__} block 'unfitting' cannot be used: "
    assert str(caught.value).startswith(says + fault)
    assert "hidden" not in str(caught.value)


@pytest.mark.usefixtures("prefect_server")
async def test_a_backend_with_a_login_whose_fields_contradict_each_other_names_the_login() -> None:
    login = IBMQuantumCredentials(api_key=SecretStr("k"))
    document_id = await login.asave("twofold", overwrite=True)
    backend = RuntimeBackend(name="ibm_fez", service="ibm", credentials=login)
    await backend.asave("with-twofold", overwrite=True)
    await add_fields(document_id, {"account_name": "mine"})
    loaded = await RuntimeBackend.aload("with-twofold")
    with pytest.raises(ConfigurationError, match=r"^The IBMQuantumCredentials block .*Set either"):
        loaded.require_usable()


@pytest.mark.usefixtures("prefect_server")
async def test_a_saved_block_that_cannot_be_used_can_be_completed() -> None:
    document_id = await RuntimeBackend(name="fake_manila").asave("incomplete", overwrite=True)
    await add_fields(document_id, {"min_num_qubits": 5})
    backend = await RuntimeBackend.aload("incomplete")
    with pytest.raises(ConfigurationError, match="'incomplete' cannot be used"):
        backend.require_usable()
    backend.min_num_qubits = None
    backend.require_usable()


@pytest.mark.parametrize(
    ("login", "fields"),
    [
        (RuntimeServiceCredentials(**LOGIN), {"service": "team"}),
        (IBMQuantumCredentials(api_key=SecretStr("k")), {"service": "ibm"}),
        (
            IBMQuantumCredentials(proxy_url=SecretStr("http://u:p@proxy:3128")),
            {"hardware_credentials": None},
        ),
    ],
)
def test_a_block_that_arrives_with_masked_secrets_names_the_cause(
    login: Any, fields: dict[str, Any]
) -> None:
    """Prefect sends the parameters of `run_deployment` as JSON, which masks secrets."""
    name = "hardware_credentials" if "service" not in fields else "credentials"
    sent = RuntimeBackend(**{**fields, name: login}).model_dump(mode="json")
    arrived = RuntimeBackend.model_validate(sent)
    with pytest.raises(
        ConfigurationError, match=r"consists of asterisks: Prefect masks .* passed by value"
    ):
        run_sampler.fn([flip()], backend=arrived)
    with pytest.raises(ConfigurationError, match="consists of asterisks"):
        type(login).model_validate(login.model_dump(mode="json")).connect()
