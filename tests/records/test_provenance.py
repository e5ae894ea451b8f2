"""The origin of results: logged with each job, kept with its results, shown in Prefect."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from prefect import flow, get_client
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.filters import (
    ArtifactCollectionFilter,
    ArtifactCollectionFilterFlowRunId,
    ArtifactFilter,
    ArtifactFilterFlowRunId,
)
from prefect.client.schemas.objects import Artifact
from prefect.runtime import flow_run

from prefect_qiskit_runtime import (
    ProgramFailedError,
    Provenance,
    RuntimeBackend,
    RuntimeJob,
    arun_program,
    attach_job,
    run_estimator,
    run_program,
    run_sampler,
    submit_program,
    submit_sampler,
    upload_program,
)
from prefect_qiskit_runtime.records import summaries
from prefect_qiskit_runtime.records.provenance import own_versions, read_stored
from prefect_qiskit_runtime.records.records import Records
from prefect_qiskit_runtime.testing import OfflineService
from prefect_qiskit_runtime.twins.sync import run_sync
from tests.circuits import bell
from tests.simulated_ibm import ibm_backend

pytestmark = pytest.mark.usefixtures("prefect_server", "service_home")

BACKEND = "aer_simulator"
RAISING = "def main(backend, user_messenger):\n    raise ValueError('no')\n"


def artifacts_of(flow_run_id: str) -> list[Artifact]:
    """Return the artifacts of a flow run."""
    which = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(flow_run_id)]))
    with get_client(sync_client=True) as client:
        return client.read_artifacts(artifact_filter=which)


def shown_job(artifact: Artifact) -> str:
    """Return the job that an artifact sums up."""
    heading, _, _ = str(artifact.data).partition("\n")
    return heading.removeprefix("### Job ")


class Jobs:
    """A callback that takes note of its jobs."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def __call__(self, job_id: str, interim: object) -> None:
        self.ids.append(job_id)


def provenance_of(job_id: str, backend: RuntimeBackend | str = BACKEND) -> Provenance:
    return attach_job.fn(job_id, backend=backend).provenance()


def test_a_job_that_a_flow_waits_for_is_summed_up_in_one_artifact(counting: str) -> None:
    jobs = Jobs()

    @flow
    def evaluating() -> str:
        run_program(counting, {"upto": 1}, backend=BACKEND, callback=jobs)
        return str(flow_run.id)

    (artifact,) = artifacts_of(evaluating())
    assert shown_job(artifact) == jobs.ids[0]
    assert artifact.description == f"Job {jobs.ids[0]} of {counting} on {BACKEND}: Completed"
    assert f"| Program id | {counting} |" in str(artifact.data)
    assert "| Attempt | 1 |" in str(artifact.data)


def test_jobs_do_not_appear_among_the_results_on_prefect_s_artifact_page(counting: str) -> None:
    @flow
    def evaluating() -> str:
        run_program(counting, {"upto": 1}, backend=BACKEND)
        create_table_artifact([{"value": 1}], key="the-result-of-this-test")
        return str(flow_run.id)

    run_id = evaluating()
    which = ArtifactCollectionFilterFlowRunId(any_=[UUID(run_id)])
    with get_client(sync_client=True) as client:
        on_the_page = client.read_latest_artifacts(
            artifact_filter=ArtifactCollectionFilter(flow_run_id=which)
        )
    assert [one.key for one in on_the_page] == ["the-result-of-this-test"]
    on_the_run = artifacts_of(run_id)
    assert sorted(str(one.key) for one in on_the_run) == ["None", "the-result-of-this-test"]


def test_a_job_that_is_waited_for_twice_is_summed_up_once(counting: str) -> None:
    @flow
    def submitting() -> str:
        job = submit_program(counting, {"upto": 1}, backend=BACKEND)
        job.wait_for_final_state()
        job.result()
        return str(flow_run.id)

    assert len(artifacts_of(submitting())) == 1


def test_the_provenance_of_a_job_names_its_runs_versions_and_times(counting: str) -> None:
    jobs = Jobs()

    @flow
    def evaluating() -> str:
        run_program(counting, {"upto": 1}, backend=BACKEND, callback=jobs)
        return str(flow_run.id)

    flow_run_id = evaluating()
    provenance = provenance_of(jobs.ids[0])
    assert (provenance.program_id, provenance.program_version) == (counting, 1)
    assert (provenance.service, provenance.backend) == ("embedded", BACKEND)
    assert provenance.flow_run_id == provenance.root_flow_run_id == flow_run_id
    assert provenance.task_run_id is not None
    assert provenance.key is not None and provenance.key.startswith("pqr-")
    assert (provenance.status.value, provenance.attempt) == ("Completed", 1)
    assert provenance.versions == own_versions()
    assert {"prefect", "qiskit", "qiskit-ibm-runtime"} <= set(provenance.versions)
    assert {"python", "qiskit"} <= set(provenance.job_versions)
    assert provenance.started_at is not None and provenance.ended_at is not None
    assert provenance.queue_seconds is not None and provenance.run_seconds is not None
    assert provenance.submitted_at <= provenance.started_at <= provenance.ended_at
    assert provenance.quantum_seconds == 0


def test_what_is_stored_is_the_same_provenance(counting: str) -> None:
    jobs = Jobs()

    @flow
    def evaluating() -> Provenance | None:
        run_program(counting, {"upto": 1}, backend=BACKEND, callback=jobs)
        return run_sync(read_stored(Records(), jobs.ids[0]))

    stored = evaluating()
    assert stored is not None
    assert stored == provenance_of(jobs.ids[0])
    assert Provenance.model_validate_json(stored.model_dump_json()) == stored


def test_a_sampler_tells_its_shots_and_seed() -> None:
    circuit = bell(measured=True)

    @flow
    def sampling() -> str:
        pubs = [(circuit, None, 10), circuit]
        run_sampler(pubs, backend="fake_manila", shots=20, seed=7, transpile=True)
        return str(flow_run.id)

    (artifact,) = artifacts_of(sampling())
    provenance = provenance_of(shown_job(artifact))
    assert provenance.shots == [10, 20]
    assert provenance.seeds == {"simulator.seed_simulator": 7}
    assert provenance.options["primitive"]["default_shots"] == 20
    assert provenance.calibration is not None
    assert provenance.calibration.updated_at is not None


@pytest.fixture
def at_ibm(cloud: OfflineService) -> RuntimeBackend:
    """A simulator of a service like IBM's, whose jobs have used ten seconds of a QPU."""
    cloud.add("job_usage", seconds=10)
    return ibm_backend(cloud.url, cloud.token, BACKEND)


ESTIMATE = 2.0 + 1000 * (250e-6 + 100e-6)
"""Of `bell` with 1000 shots: 2 s, and for each shot the delay and a typical circuit."""


def test_a_job_of_ibm_s_tells_its_time_on_the_qpu_and_the_estimate_of_it(
    at_ibm: RuntimeBackend,
) -> None:
    circuit = bell(measured=True)

    @flow
    def sampling() -> str:
        run_sampler([circuit], backend=at_ibm, shots=1000)
        return str(flow_run.id)

    (artifact,) = artifacts_of(sampling())
    assert "| Quantum seconds | 10.000 |" in str(artifact.data)
    assert f"| Estimated quantum seconds | {ESTIMATE:.3f} |" in str(artifact.data)
    provenance = provenance_of(shown_job(artifact), at_ibm)
    assert provenance.quantum_seconds == 10
    assert provenance.estimated_quantum_seconds == pytest.approx(ESTIMATE)


def test_a_job_that_is_found_again_keeps_the_estimate_of_the_call_that_sent_it(
    at_ibm: RuntimeBackend,
) -> None:
    circuit = bell(measured=True)

    @flow
    def submitting() -> list[RuntimeJob]:
        return [
            submit_sampler([circuit], backend=at_ibm, shots=1000, durable_key="sent once")
            for _ in range(2)
        ]

    sent, found = submitting()
    assert found.job_id == sent.job_id
    assert found.preparation["estimate"] == sent.preparation["estimate"]
    found.wait_for_final_state()
    assert found.provenance().estimated_quantum_seconds == pytest.approx(ESTIMATE)


def test_options_that_were_ignored_are_named() -> None:
    backend = RuntimeBackend(name=BACKEND, unsupported_options="record", tags=["ignoring"])

    @flow
    def estimating() -> str:
        options = {"resilience_level": 2, "default_precision": 0.5}
        run_estimator([(bell(), "ZZ")], backend=backend, options=options)
        return str(flow_run.id)

    (artifact,) = artifacts_of(estimating())
    provenance = provenance_of(shown_job(artifact))
    assert provenance.options_ignored == ["resilience_level"]
    assert provenance.precision == 0.5
    assert provenance.tags[0] == "ignoring"


def test_the_jobs_of_earlier_attempts_are_named(offline: OfflineService) -> None:
    offline.add("end_job", reason_code=1500)
    backend = offline.backend(retry_delay_seconds=0)
    circuit = bell(measured=True)

    @flow
    def sampling() -> str:
        run_sampler([circuit], backend=backend)
        return str(flow_run.id)

    first, second = sorted(artifacts_of(sampling()), key=lambda one: str(one.created))
    failed, completed = shown_job(first), shown_job(second)
    provenance = provenance_of(completed, backend)
    assert (provenance.attempt, provenance.earlier_job_ids) == (2, [failed])
    assert provenance.service_url == f"{offline.url}/"
    assert provenance_of(failed, backend).reason_code == 1500


def test_a_private_job_tells_nothing_of_its_inputs() -> None:
    circuit = bell(measured=True)
    backend = RuntimeBackend(name=BACKEND, private=True)

    @flow
    def sampling() -> str:
        run_sampler([circuit], backend=backend, shots=4242, seed=7)
        return str(flow_run.id)

    (artifact,) = artifacts_of(sampling())
    provenance = provenance_of(shown_job(artifact), backend)
    assert (provenance.private, provenance.shots, provenance.seeds) == (True, None, {})
    assert "primitive" not in provenance.options
    assert "4242" not in str(artifact.data) + provenance.model_dump_json()


def test_a_job_that_was_submitted_elsewhere_is_read_from_its_service(counting: str) -> None:
    job = submit_program.fn(counting, {"upto": 1}, backend=BACKEND)
    job.wait_for_final_state()
    provenance = provenance_of(job.job_id)
    assert provenance.versions == {}
    assert provenance.flow_run_id is None


def test_a_failed_job_is_summed_up_too() -> None:
    program = upload_program.fn(RAISING, name="raising-for-its-summary")

    @flow
    def failing() -> str:
        with pytest.raises(ProgramFailedError):
            run_program(program, backend=BACKEND)
        return str(flow_run.id)

    (artifact,) = artifacts_of(failing())
    assert str(artifact.description).endswith("Failed")
    assert "| Reason code | 90001 |" in str(artifact.data)


def test_a_loop_shows_the_first_of_its_jobs_only(
    counting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_QISKIT_RUNTIME_JOB_ARTIFACTS", "1")
    jobs = Jobs()

    @flow
    def looping() -> str:
        for _ in range(3):
            run_program(counting, {"upto": 1}, backend=BACKEND, callback=jobs)
        return str(flow_run.id)

    assert len(artifacts_of(looping())) == 1
    assert all(provenance_of(job_id).versions for job_id in jobs.ids)


def test_a_summary_that_cannot_be_made_does_not_fail_the_flow(
    counting: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("Prefect is away")

    monkeypatch.setattr(summaries, "_create_artifact", away)

    @flow
    def evaluating() -> Any:
        return run_program(counting, {"upto": 1}, backend=BACKEND)

    assert evaluating() == {"upto": 1, "backend": BACKEND}
    assert "could not be made" in caplog.text


async def test_an_asynchronous_flow_shows_its_jobs_too(counting: str) -> None:
    @flow
    async def evaluating() -> str:
        await arun_program(counting, {"upto": 1}, backend=BACKEND)
        return str(flow_run.id)

    (artifact,) = artifacts_of(await evaluating())
    assert (artifact.key, artifact.type) == (None, "markdown")
