"""Possible answers of IBM's cloud, end to end: the reaction of a call, and its message."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from prefect_qiskit_runtime import (
    ConflictError,
    JobError,
    NotFoundError,
    RuntimeBackend,
    arun_sampler,
    asubmit_sampler,
    run_sampler,
    runtime_session,
    submit_sampler,
)
from prefect_qiskit_runtime.client.ibm import _login
from prefect_qiskit_runtime.devices import device
from prefect_qiskit_runtime.testing import OfflineService
from tests.circuits import flip
from tests.simulated_ibm import ibm_backend

LOGIN = "/identity/token"
AN_HOUR = 3600


@pytest.fixture
def backend(cloud: OfflineService) -> RuntimeBackend:
    return at_ibm(cloud)


def at_ibm(cloud: OfflineService, name: str = "aer_simulator", **fields: Any) -> RuntimeBackend:
    fields = {"retry_delay_seconds": 0, **fields}
    return ibm_backend(cloud.url, cloud.token, name, **fields)


def count(backend: RuntimeBackend, **how: Any) -> dict[str, int]:
    (result,) = cast("Any", run_sampler.fn([flip()], backend=backend, shots=5, **how))
    return result.data.meas.get_counts()


def num_jobs(cloud: OfflineService) -> int:
    return len([request for request in cloud.requests("POST", "/jobs") if request["status"] == 200])


# --- reason codes ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1500, 3234, 5204, 9999, 1999])
def test_a_code_of_a_passing_fault_sends_the_job_again(
    cloud: OfflineService, backend: RuntimeBackend, code: int
) -> None:
    cloud.add("end_job", reason_code=code)
    assert count(backend) == {"1": 5}
    assert num_jobs(cloud) == 2


@pytest.mark.parametrize(("code", "jobs"), [(1500, 3), (9999, 2)])
def test_and_not_for_ever(
    cloud: OfflineService, backend: RuntimeBackend, code: int, jobs: int
) -> None:
    cloud.add("end_job", reason_code=code, when={"times": None})
    with pytest.raises(JobError) as caught:
        count(backend)
    assert (caught.value.reason_code, num_jobs(cloud)) == (code, jobs)


def test_a_code_that_says_another_backend_goes_to_the_fallback(cloud: OfflineService) -> None:
    cloud.add("end_job", reason_code=2002, when={"backend": "aer_simulator"})
    backend = at_ibm(cloud, fallbacks=["fake_manila"], transpile=True)
    assert sum(count(backend).values()) == 5
    assert num_jobs(cloud) == 2


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (3253, "The job has a result that did not arrive: fetch the result again, do not resend."),
        (2615, "This backend cannot run the job: choose another one."),
        (4001, "The job's session has ended: open another one and send the job there."),
        (5201, "Make the job smaller, or raise its limit."),
        (8101, "Make the job smaller, or raise its limit."),
        (1305, "Give it a higher max_execution_time, or less to do."),
        (1103, ""),
        (7001, ""),
        (4242, "This reason code is unknown: the job is not sent again automatically."),
    ],
)
def test_any_other_code_makes_no_second_job_and_says_what_to_do(
    cloud: OfflineService, backend: RuntimeBackend, code: int, says: str
) -> None:
    cloud.add("end_job", reason_code=code, when={"times": None})
    with pytest.raises(JobError) as caught:
        count(backend)
    assert num_jobs(cloud) == 1
    assert caught.value.reason_code == code
    assert str(caught.value).endswith(says)
    assert caught.value.job_id in str(caught.value)


# --- tokens ------------------------------------------------------------------------------------


async def waiting(cloud: OfflineService, backend: RuntimeBackend) -> asyncio.Task[Any]:
    """A call whose job is queued, and is asked for."""
    call = asyncio.ensure_future(arun_sampler.fn([flip()], backend=backend, shots=5))
    await asked_again(cloud)
    return call


async def asked_again(cloud: OfflineService) -> None:
    """Wait until the job has been asked for once more."""

    def questions() -> int:
        return len(cloud.requests("GET", "/jobs/*"))

    before = await asyncio.to_thread(questions)
    while await asyncio.to_thread(questions) == before:
        await asyncio.sleep(0)


async def test_a_token_that_ends_while_a_job_waits_is_renewed_once(
    cloud: OfflineService, backend: RuntimeBackend
) -> None:
    hold = cloud.add("hold_job")
    call = await waiting(cloud, backend)
    cloud.advance(AN_HOUR)
    await asked_again(cloud)
    await asked_again(cloud)
    cloud.remove(hold)
    (result,) = await call
    assert result.data.meas.get_counts() == {"1": 5}
    assert [request["status"] for request in cloud.requests("POST", LOGIN)] == [200, 200]
    refused = [request for request in cloud.requests() if request["status"] == 401]
    assert len(refused) == 1
    assert num_jobs(cloud) == 1


async def test_a_token_is_renewed_before_it_ends_while_a_job_waits(
    cloud: OfflineService, backend: RuntimeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = cloud.add("hold_job")
    call = await waiting(cloud, backend)
    later = SimpleNamespace(monotonic=lambda: time.monotonic() + 0.9 * AN_HOUR)
    monkeypatch.setattr(_login, "time", later)
    cloud.advance(0.9 * AN_HOUR)
    await asked_again(cloud)
    cloud.advance(0.5 * AN_HOUR)  # beyond the end of the first one
    await asked_again(cloud)
    cloud.remove(hold)
    await call
    assert len(cloud.requests("POST", LOGIN)) == 2
    assert not [request for request in cloud.requests() if request["status"] == 401]


# --- backends, sessions, usage -----------------------------------------------------------------


def test_an_offline_backend_is_not_chosen(cloud: OfflineService) -> None:
    cloud.add("backend_offline", backend="fake_a*")
    backend = at_ibm(cloud, "least_busy", simulators="never", transpile=True)
    job = submit_sampler.fn([flip()], backend=backend, shots=5)
    assert not job.backend.name.startswith("fake_a")
    cloud.add("backend_offline", backend="fake_*")
    with pytest.raises(NotFoundError, match="accepts jobs and fits"):
        submit_sampler.fn([flip()], backend=backend, shots=5)


async def test_a_job_of_a_backend_that_goes_offline_waits_for_it(
    cloud: OfflineService, backend: RuntimeBackend
) -> None:
    offline = cloud.add("backend_offline", backend="aer_simulator")
    call = await waiting(cloud, backend)
    cloud.remove(offline)
    (result,) = await call
    assert result.data.meas.get_counts() == {"1": 5}
    assert num_jobs(cloud) == 1


def test_a_session_that_has_lapsed_is_opened_again(
    cloud: OfflineService, backend: RuntimeBackend
) -> None:
    with runtime_session(backend, max_time=600) as session:
        first = session.session_id
        assert count(backend, session=session) == {"1": 5}
        cloud.advance(601)
        assert count(backend, session=session) == {"1": 5}
        assert session.earlier_ids == [first]
    assert num_jobs(cloud) == 2


def test_an_instance_that_is_used_up_says_so(
    cloud: OfflineService, backend: RuntimeBackend
) -> None:
    cloud.add("usage_limit", seconds=600)
    with pytest.raises(ConflictError, match="has reached its usage limit of 600 s") as caught:
        count(backend)
    assert caught.value.code == 4317
    assert num_jobs(cloud) == 0


def test_the_result_of_a_private_job_is_read_once_and_arrives(
    cloud: OfflineService,
    prefect_server: None,
) -> None:
    assert count(at_ibm(cloud, private=True)) == {"1": 5}
    reads = cloud.requests("GET", "/jobs/*/results")
    assert [read["status"] for read in reads] == [200]


async def test_a_call_that_is_cancelled_while_it_reads_such_a_result_keeps_it(
    cloud: OfflineService,
    prefect_server: None,
) -> None:
    """The service deletes it with its answer, which is on the way."""
    job = await asubmit_sampler.fn([flip()], backend=at_ibm(cloud, private=True), shots=5)
    await job.await_for_final_state()
    when = {"method": "GET", "path": "/jobs/*/results"}
    asked = cloud.add("silence", when=when, moment="after_effect", seconds=2)
    reading = asyncio.create_task(job.aresult())
    while not any(one["id"] == asked and one["used"] for one in cloud.scenarios()):
        await asyncio.sleep(0.05)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    result = await job.aresult()
    assert len(cloud.requests("GET", "/jobs/*/results")) == 1
    assert sum(result[0].data.meas.get_counts().values()) == 5


# --- a device that lacks an instruction ----------------------------------------------------------


def configurations(cloud: OfflineService) -> int:
    return len(cloud.requests("GET", "/backends/fake_manila/configuration"))


@pytest.fixture
def unknown_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_kept", {})


@pytest.mark.usefixtures("unknown_devices")
def test_code_1517_transpiles_again_for_the_device_as_it_is_now(cloud: OfflineService) -> None:
    cloud.add("end_job", reason_code=1517)
    backend = at_ibm(cloud, "fake_manila", transpile=True)
    assert sum(count(backend).values()) == 5
    assert (num_jobs(cloud), configurations(cloud)) == (2, 2)


@pytest.mark.usefixtures("unknown_devices")
def test_a_submission_refused_with_1517_is_transpiled_again_too(cloud: OfflineService) -> None:
    cloud.add("refuse", status=400, code=1517, when={"method": "POST", "path": "/jobs"})
    backend = at_ibm(cloud, "fake_manila", transpile=True)
    assert sum(count(backend).values()) == 5
    assert (num_jobs(cloud), configurations(cloud)) == (1, 2)


@pytest.mark.usefixtures("unknown_devices")
@pytest.mark.parametrize(("transpile", "jobs"), [(True, 2), (False, 1)])
def test_but_only_once_and_otherwise_it_is_advised(
    cloud: OfflineService, transpile: bool, jobs: int
) -> None:
    cloud.add("end_job", reason_code=1517, when={"times": None})
    backend = at_ibm(cloud, "fake_manila" if transpile else "aer_simulator", transpile=transpile)
    with pytest.raises(JobError, match=r"Transpile the circuits again for the device") as caught:
        count(backend)
    assert (caught.value.reason_code, caught.value.transient) == (1517, False)
    assert num_jobs(cloud) == jobs
