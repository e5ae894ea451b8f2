"""Jobs as a flow sees them, through the real embedded service."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest

from prefect_qiskit_runtime import (
    ConfigurationError,
    ConflictError,
    DecodingError,
    EncodingError,
    InvalidInputError,
    JobCancelledError,
    JobStatus,
    NotFoundError,
    ProgramFailedError,
    ResultDecoder,
    RuntimeBackend,
    RuntimeJob,
    RuntimeOptions,
    jobs as tasks,
    programs,
)

BACKEND = "aer_simulator"
run_program, submit_program = tasks.run_program.fn, tasks.submit_program.fn
upload_program = programs.upload_program.fn


class Tagged(ResultDecoder):
    """Decodes to a pair, so that it shows."""

    @classmethod
    def decode(cls, data: str) -> tuple[str, object]:
        return "tagged", super().decode(data)


class Broken(ResultDecoder):
    """Fails on everything."""

    @classmethod
    def decode(cls, data: str) -> object:
        raise ValueError("no")


def test_run_program_gives_each_interim_result_once_in_order_and_the_result(counting: str) -> None:
    seen: list[object] = []

    def callback(job_id: str, interim: object) -> None:
        seen.append(interim)

    result = run_program(counting, {"upto": 3}, backend=BACKEND, callback=callback)
    assert seen == [{"number": 0}, {"number": 1}, {"number": 2}]
    assert result == {"upto": 3, "backend": BACKEND}


def test_the_callback_is_called_while_the_job_runs(counting: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def open_gate_at_the_last(job_id: str, interim: dict[str, int]) -> None:
        if interim["number"] == 2:
            gate.touch()  # the job would wait for ever if this came after its end

    inputs = {"upto": 3, "wait_for": str(gate)}
    result = run_program(counting, inputs, backend=BACKEND, callback=open_gate_at_the_last)
    assert result["upto"] == 3


def test_a_callback_can_ask_for_the_number(counting: str) -> None:
    seen: list[tuple[int, int]] = []

    def callback(job_id: str, interim: dict[str, int], seq: int) -> None:
        seen.append((seq, interim["number"]))

    run_program(counting, {"upto": 2}, backend=BACKEND, callback=callback)
    assert seen == [(0, 0), (1, 1)]


def test_a_callback_gets_the_final_result_on_request(counting: str) -> None:
    seen: list[object] = []
    run_program(
        counting,
        {"upto": 1},
        backend=BACKEND,
        callback=lambda job_id, value: seen.append(value),
        include_final=True,
    )
    assert seen == [{"number": 0}, {"upto": 1, "backend": BACKEND}]


def test_a_callback_that_raises_is_logged_and_does_not_end_the_flow(
    counting: str, caplog: pytest.LogCaptureFixture
) -> None:
    def callback(job_id: str, interim: object) -> None:
        raise ValueError("from the callback")

    with caplog.at_level(logging.ERROR):
        assert run_program(counting, {"upto": 1}, backend=BACKEND, callback=callback)["upto"] == 1
    assert "The callback failed on interim result 0" in caplog.text
    assert "from the callback" in caplog.text


def test_a_callback_that_fails_on_and_on_shows_its_traceback_once(
    counting: str, caplog: pytest.LogCaptureFixture
) -> None:
    def callback(job_id: str, interim: object) -> None:
        raise ValueError("again")

    with caplog.at_level(logging.ERROR):
        run_program(counting, {"upto": 3}, backend=BACKEND, callback=callback)
    assert caplog.text.count("The callback failed on interim result") == 3
    assert caplog.text.count("Traceback") == 1


@pytest.mark.parametrize("callback", ["text", lambda interim: None, lambda a, b, c: None])
def test_what_cannot_be_called_back_is_refused_before_submitting(
    counting: str, callback: object
) -> None:
    before = tasks.list_jobs.fn(backend=BACKEND, limit=None)
    with pytest.raises(ConfigurationError, match=r"callback .*\(job_id, interim\)"):
        run_program(counting, {"upto": 1}, backend=BACKEND, callback=callback)  # type: ignore[arg-type]
    assert tasks.list_jobs.fn(backend=BACKEND, limit=None) == before


async def test_the_async_twin_awaits_an_async_callback(counting: str) -> None:
    seen: list[object] = []

    async def callback(job_id: str, interim: object) -> None:
        await asyncio.sleep(0)
        seen.append(interim)

    result = await tasks.arun_program.fn(counting, {"upto": 2}, backend=BACKEND, callback=callback)
    assert (seen, result["upto"]) == ([{"number": 0}, {"number": 1}], 2)


def test_a_job_can_be_found_again_by_its_id(counting: str) -> None:
    job = submit_program(counting, {"upto": 2}, backend=BACKEND)
    again = tasks.attach_job.fn(job.job_id, backend=BACKEND)
    assert again.result() == job.result() == {"upto": 2, "backend": BACKEND}
    assert again.inputs() == {"upto": 2}
    assert (again.program_id, again.backend.name) == (counting, BACKEND)
    assert again.status() is JobStatus.COMPLETED
    assert again.error_message() is None


def test_a_stream_opened_after_the_end_gives_everything_again(counting: str) -> None:
    job = submit_program(counting, {"upto": 3}, backend=BACKEND)
    assert job.wait_for_final_state() is JobStatus.COMPLETED
    assert [interim["number"] for interim in job.stream()] == [0, 1, 2]
    assert [interim["number"] for interim in job.stream(from_=2)] == [2]
    streamed = tasks.stream_results.fn(job.job_id, backend=BACKEND, from_=1)
    assert [interim["number"] for interim in streamed] == [1, 2]


def test_a_job_survives_pickling(counting: str) -> None:
    job = submit_program(counting, {"upto": 1}, backend=BACKEND)
    copy: RuntimeJob = pickle.loads(pickle.dumps(job))
    assert copy.result() == {"upto": 1, "backend": BACKEND}


def test_cancelling_ends_a_running_job(counting: str, tmp_path: Path) -> None:
    inputs = {"upto": 1, "wait_for": str(tmp_path / "never")}
    job = submit_program(counting, inputs, backend=BACKEND)
    assert next(job.stream()) == {"number": 0}
    job.cancel()
    with pytest.raises(JobCancelledError) as caught:
        job.result()
    assert caught.value.job_id == job.job_id
    with pytest.raises(ConflictError):
        tasks.cancel_job.fn(job.job_id, backend=BACKEND)


def test_a_caller_that_is_cancelled_takes_its_job_along(counting: str, tmp_path: Path) -> None:
    class Termination(BaseException):
        pass

    jobs: list[str] = []

    def callback(job_id: str, interim: object) -> None:
        jobs.append(job_id)
        raise Termination

    inputs = {"upto": 1, "wait_for": str(tmp_path / "never")}
    with pytest.raises(Termination):
        run_program(counting, inputs, backend=BACKEND, callback=callback)
    status = tasks.wait_for_job.fn(jobs[0], backend=BACKEND)
    assert status is JobStatus.CANCELLED


def test_waiting_has_a_deadline_and_the_job_goes_on(counting: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = submit_program(counting, {"upto": 1, "wait_for": str(gate)}, backend=BACKEND)
    with pytest.raises(TimeoutError, match=r"has not ended within 0\.05 s"):
        job.wait_for_final_state(timeout_seconds=0.05)
    gate.touch()
    assert job.wait_for_final_state() is JobStatus.COMPLETED


def test_a_program_that_raises_gives_its_own_traceback_and_log(service_home: object) -> None:
    source = "def main(backend, user_messenger):\n    print('so far')\n    return 1 / 0\n"
    program_id = upload_program(source, name="dividing")
    job = submit_program(program_id, backend=BACKEND)
    with pytest.raises(ProgramFailedError, match="ZeroDivisionError") as caught:
        job.result()
    assert "return 1 / 0" in (caught.value.traceback or "")
    assert "so far" in job.logs()
    assert "ZeroDivisionError" in (job.error_message() or "")


def test_inputs_that_break_the_schema_are_refused_with_path_and_rule(service_home: object) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
    program_id = upload_program(
        "def main(backend, user_messenger, n):\n    return n\n",
        name="checked",
        spec={"parameters": schema},
    )
    with pytest.raises(InvalidInputError) as caught:
        submit_program(program_id, {"n": 0}, backend=BACKEND)
    assert (caught.value.path, caught.value.rule) == ("$.n", "minimum: 1")


def test_an_input_that_cannot_be_encoded_is_named_by_its_path(counting: str) -> None:
    with pytest.raises(EncodingError) as caught:
        submit_program(counting, {"upto": [1, {"deep": object()}]}, backend=BACKEND)
    assert caught.value.path == "$.upto[1].deep"


def test_a_mistake_is_reported_without_the_insides_of_the_package(counting: str) -> None:
    with pytest.raises(EncodingError) as caught:
        submit_program(counting, {"upto": object()}, backend=BACKEND)
    shown = "".join(traceback.format_exception(caught.value))
    assert "direct cause" not in shown
    assert "During handling" not in shown
    assert "_encoder.py" not in shown


def test_inputs_that_are_no_mapping_are_refused(counting: str) -> None:
    with pytest.raises(EncodingError, match="not a list"):
        submit_program(counting, [3], backend=BACKEND)  # type: ignore[arg-type]


def test_unknown_names_are_not_found(counting: str) -> None:
    with pytest.raises(NotFoundError, match="the id that the upload of the program returned"):
        submit_program("no-such-program", backend=BACKEND)
    with pytest.raises(NotFoundError, match=f"'{counting}' is the id of your program"):
        submit_program("counting-until", backend=BACKEND)
    with pytest.raises(NotFoundError, match="aer_simulator") as caught:
        submit_program(counting, {"upto": 1}, backend="aer_simulater")
    assert (caught.value.kind, caught.value.identifier) == ("backend", "aer_simulater")
    with pytest.raises(NotFoundError, match="The search was in the embedded service") as caught:
        tasks.attach_job.fn("no-such-job", backend=BACKEND)
    assert (caught.value.kind, caught.value.identifier) == ("job", "no-such-job")


@pytest.mark.parametrize("no_id", [None, "", 7])
def test_what_is_no_id_of_a_job_is_refused(service_home: object, no_id: Any) -> None:
    with pytest.raises(ConfigurationError, match="A job is identified by its id"):
        tasks.attach_job.fn(no_id, backend=BACKEND)


def test_options_are_laid_over_those_of_the_backend(counting: str) -> None:
    backend = RuntimeBackend(name=BACKEND, tags=["block"], max_execution_time=100)
    options = RuntimeOptions(tags=("call",), max_execution_time=50)
    job = submit_program(counting, {"upto": 1}, backend=backend, options=options)
    info = job.info()
    assert (sorted(info.tags), info.cost) == (["block", "call"], 50)
    job.update_tags(["other"])
    (found,) = tasks.list_jobs.fn(backend=BACKEND, tags=["other"])
    assert found.id == job.job_id


def test_a_decoder_may_be_a_class_a_pair_or_an_import_path(counting: str) -> None:
    seen: list[object] = []

    def run(decoder: object) -> object:
        return run_program(
            counting,
            {"upto": 1},
            backend=BACKEND,
            callback=lambda job_id, interim: seen.append(interim),
            result_decoder=decoder,
        )

    final = {"upto": 1, "backend": BACKEND}
    assert run(Tagged) == ("tagged", final)
    assert run((None, Tagged)) == ("tagged", final)
    assert run((Tagged, None)) == final
    assert run("prefect_qiskit_runtime.program:ResultDecoder") == final
    interim = {"number": 0}
    assert seen == [("tagged", interim), interim, ("tagged", interim), interim]


def test_a_decoder_that_fails_leaves_the_job_alone(counting: str) -> None:
    job = submit_program(counting, {"upto": 1}, backend=BACKEND)
    with pytest.raises(DecodingError, match="Decoder Broken failed on the result"):
        job.result(Broken)
    assert job.result() == {"upto": 1, "backend": BACKEND}


@pytest.mark.parametrize("decoder", ["nowhere:Nothing", "json:loads", (Tagged, Tagged, Tagged)])
def test_a_decoder_that_is_none_is_refused_before_submitting(
    counting: str, decoder: object
) -> None:
    before = tasks.list_jobs.fn(backend=BACKEND, limit=None)
    with pytest.raises(ConfigurationError, match="result_decoder"):
        run_program(counting, {"upto": 1}, backend=BACKEND, result_decoder=decoder)
    assert tasks.list_jobs.fn(backend=BACKEND, limit=None) == before


def test_a_deleted_job_is_gone(counting: str) -> None:
    job = submit_program(counting, {"upto": 1}, backend=BACKEND)
    job.result()
    tasks.delete_job.fn(job.job_id, backend=BACKEND)
    with pytest.raises(NotFoundError):
        job.status()


def test_the_backends_of_a_service_are_listed() -> None:
    from prefect_qiskit_runtime import list_backends

    backends = {found.name: found.qubits for found in list_backends.fn()}
    assert backends["fake_manila"] == 5
    assert len(backends) > 50


SCHEMA = {"type": "object", "properties": {"upto": {"type": "integer"}}, "required": ["upto"]}


def test_a_parameter_namespace_is_taken_as_inputs(service_home: object) -> None:
    source = "def main(backend, user_messenger, *, upto):\n    return upto\n"
    program_id = upload_program(source, name="by-namespace", spec={"parameters": SCHEMA})
    params = programs.get_program.fn(program_id).parameters()
    with pytest.raises(InvalidInputError, match="required"):
        run_program(program_id, params, backend=BACKEND)
    params.upto = 2
    assert run_program(program_id, params, backend=BACKEND) == 2
    job = submit_program(program_id, params, backend=BACKEND)
    assert (job.inputs(), job.result()) == ({"upto": 2}, 2)


def test_options_by_the_names_of_ibm_may_name_the_backend_of_the_call(counting: str) -> None:
    options = {"backend_name": BACKEND, "job_tags": ["by-ibms-name"]}
    job = submit_program(counting, {"upto": 0}, backend=BACKEND, options=options)
    assert job.info().tags == ["by-ibms-name"]
    with pytest.raises(ConfigurationError, match="Leave backend out of the options"):
        submit_program(counting, {"upto": 0}, backend="fake_manila", options=options)
    with pytest.raises(ConfigurationError, match="Leave instance out of the options"):
        submit_program(counting, {"upto": 0}, backend=BACKEND, options={"instance": "crn:other"})


def test_jobs_are_listed_by_backend_session_time_and_in_either_order(counting: str) -> None:
    options = {"tags": ["listed"]}
    first = submit_program(counting, {"upto": 0}, backend="fake_manila", options=options)
    second = submit_program(counting, {"upto": 0}, backend=BACKEND, options=options)

    def listed(**filters: object) -> list[str]:
        found = tasks.list_jobs.fn(backend=BACKEND, tags=["listed"], **filters)
        return [info.id for info in found]

    assert listed() == [second.job_id, first.job_id]
    assert listed(descending=False) == [first.job_id, second.job_id]
    assert listed(backend_name="fake_manila") == [first.job_id]
    assert listed(session=first.job_id) == []
    assert listed(created_after=second.info().created) == [second.job_id]
    assert listed(created_before=first.info().created) == [first.job_id]


def test_interim_results_so_far_and_new_tags_are_returned(counting: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = submit_program(counting, {"upto": 2, "wait_for": str(gate)}, backend=BACKEND)
    with pytest.raises(TimeoutError, match=r"has not ended within 0\.05 s"):
        job.result(timeout_seconds=0.05)
    assert job.update_tags(["new"]) == job.tags == ["new"]
    gate.touch()
    job.wait_for_final_state()
    assert job.interim_results() == [{"number": 0}, {"number": 1}]
    assert job.interim_results(Tagged)[0] == ("tagged", {"number": 0})
