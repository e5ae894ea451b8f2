"""The serializer and the cache policy that users set on their own tasks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prefect import flow, task
from prefect.cache_policies import TASK_SOURCE
from prefect.serializers import Serializer
from pydantic import BaseModel
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.primitives import StatevectorSampler
from qiskit.quantum_info import SparsePauliOp

from prefect_qiskit_runtime import (
    CircuitInputs,
    DecodingError,
    EncodingError,
    NotFoundError,
    RuntimeBackend,
    RuntimeResultSerializer,
    RuntimeServiceCredentials,
)

SERIALIZER = RuntimeResultSerializer()


def circuit() -> QuantumCircuit:
    angles = ParameterVector("angles", 11)
    built = QuantumCircuit(2, name=f"built-{os.urandom(4).hex()}")
    built.rx(angles[10] + 2 * Parameter("x"), 0)
    with built.for_loop(range(3)) as index:
        built.rz(index * 0.1, 1)
    return built


class Model(BaseModel):
    """A model among the inputs of a task."""

    level: int = 1


def key(policy: CircuitInputs | None = None, name: str = "measure", **inputs: Any) -> str:
    context: Any = SimpleNamespace(task=SimpleNamespace(name=name, version=None))
    return (policy or CircuitInputs()).compute_key(context, inputs, {})


INPUTS_TOLD = {"circuits": [circuit()], "operator": SparsePauliOp("ZZ"), "points": np.arange(3)}


class TestSerializer:
    def test_is_known_to_prefect_by_its_name(self) -> None:
        assert type(Serializer(type="qiskit-runtime")) is RuntimeResultSerializer

    @pytest.mark.parametrize(
        "value",
        [None, 1.5, "text", {"a": [1, 2]}, 1 + 2j, circuit(), SparsePauliOp(["XX", "ZI"], [1, 2])],
        ids=lambda value: type(value).__name__,
    )
    def test_gives_back_what_it_was_given(self, value: Any) -> None:
        assert SERIALIZER.loads(SERIALIZER.dumps(value)) == value

    def test_gives_back_results_of_primitives(self) -> None:
        measured = QuantumCircuit(1)
        measured.measure_all()
        result = StatevectorSampler(seed=1).run([measured]).result()
        again = SERIALIZER.loads(SERIALIZER.dumps(result))
        assert again[0].data.meas == result[0].data.meas

    def test_refuses_what_has_no_encoding(self) -> None:
        with pytest.raises(EncodingError, match=r"\$\.wrong"):
            SERIALIZER.dumps({"wrong": object()})

    def test_refuses_a_format_of_the_future(self) -> None:
        written = SERIALIZER.dumps(1).replace(b'"format": 1', b'"format": 2')
        with pytest.raises(DecodingError, match=r"its format is 2, but this version .* reads 1"):
            SERIALIZER.loads(written)

    @pytest.mark.parametrize("blob", [b"[1]", b"gAWVBAAAAA==", b"\x80\x05"])
    def test_refuses_what_others_wrote(self, blob: bytes) -> None:
        with pytest.raises(DecodingError):
            SERIALIZER.loads(blob)

    @pytest.mark.parametrize("error", [ValueError("no"), NotFoundError("not there")])
    def test_gives_back_errors_of_python_and_of_this_package(self, error: Exception) -> None:
        again = SERIALIZER.loads(SERIALIZER.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))

    def test_imports_no_class_that_a_text_names(self) -> None:
        written = SERIALIZER.dumps(ValueError("no")).replace(b"builtins.Value", b"antigravity.")
        assert repr(SERIALIZER.loads(written)) == "RuntimeError('antigravity.Error: no')"
        assert "antigravity" not in sys.modules


class TestCircuitInputs:
    def test_equal_circuits_have_one_key(self) -> None:
        assert key(circuit=circuit()) == key(circuit=circuit())

    def test_is_the_same_in_another_process(self) -> None:
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_caching"
        )
        script = f"{code}; print(test_caching.key(**test_caching.INPUTS_TOLD))"
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": "7"},
        )
        assert done.stdout.strip() == key(**INPUTS_TOLD)

    @pytest.mark.parametrize(
        "other",
        [
            {"name": "prepare", "level": 1},
            {"level": 2},
            {"level": 1, "more": None},
            {"level": Model(level=1)},
        ],
        ids=str,
    )
    def test_other_tasks_and_inputs_have_other_keys(self, other: dict[str, Any]) -> None:
        assert key(**other) != key(level=1)

    def test_an_input_that_is_left_out_does_not_count(self) -> None:
        policy = CircuitInputs() - "verbose"
        assert key(policy, level=1, verbose=True) == key(policy, level=1)

    def test_backends_and_models_count(self) -> None:
        backends = [RuntimeBackend(), RuntimeBackend(tags=["mine"]), RuntimeBackend(name="fake_x")]
        keys = [key(inputs=[backend, Model()]) for backend in backends]
        assert keys[0] == keys[1] != keys[2]
        assert key(model=Model(level=1)) != key(model=Model(level=2))

    def test_no_token_makes_a_difference(self) -> None:
        def backend(token: str) -> RuntimeBackend:
            credentials = RuntimeServiceCredentials(url="https://runtime.example.org", token=token)
            return RuntimeBackend(service="team", credentials=credentials)

        assert key(backend=backend("one")) == key(backend=backend("two"))
        assert key(backend=backend("one")) != key(backend=RuntimeBackend())

    def test_an_input_without_a_fingerprint_is_named(self) -> None:
        with pytest.raises(TypeError, match=r"exclude it: .*CircuitInputs\(\) - 'callback'"):
            key(callback=print)

    @pytest.mark.usefixtures("prefect_server")
    def test_tasks_take_kept_results_of_other_flow_runs(self) -> None:
        calls: list[int] = []

        @task(
            cache_policy=CircuitInputs() + TASK_SOURCE,
            result_serializer=SERIALIZER,
            persist_result=True,
        )
        def deepened(circuit: QuantumCircuit, times: int) -> QuantumCircuit:
            calls.append(times)
            return QuantumCircuit(2).compose(circuit)

        @flow
        def preparing(times: int) -> QuantumCircuit:
            return deepened(circuit(), times)

        # Built again in each flow run.
        assert preparing(2).num_parameters == preparing(2).num_parameters == 2
        preparing(3)
        assert calls == [2, 3]

    @pytest.mark.usefixtures("prefect_server")
    def test_a_failure_of_a_task_is_written_too(self, caplog: pytest.LogCaptureFixture) -> None:
        @task(result_serializer=SERIALIZER, persist_result=True)
        def failing() -> None:
            raise ValueError("as asked")

        @flow
        def trying() -> str:
            return str(failing(return_state=True).result(raise_on_failure=False))

        assert trying() == "as asked"
        assert "Failed to write result" not in caplog.text
