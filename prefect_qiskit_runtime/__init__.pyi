"""The public names, each from the module that defines it; `__init__.py` reads this file."""

from prefect_qiskit_runtime.backend import (
    RuntimeBackend as RuntimeBackend,
)
from prefect_qiskit_runtime.backends import (
    aleast_busy_backend as aleast_busy_backend,
    alist_backends as alist_backends,
    least_busy_backend as least_busy_backend,
    list_backends as list_backends,
)
from prefect_qiskit_runtime.caching import (
    CircuitInputs as CircuitInputs,
    RuntimeResultSerializer as RuntimeResultSerializer,
)
from prefect_qiskit_runtime.cancellation import (
    acancel_abandoned_jobs as acancel_abandoned_jobs,
    cancel_abandoned_jobs as cancel_abandoned_jobs,
    cancel_on_exit as cancel_on_exit,
)
from prefect_qiskit_runtime.client import (
    RuntimeClient as RuntimeClient,
    SyncRuntimeClient as SyncRuntimeClient,
)
from prefect_qiskit_runtime.credentials import (
    IBMQuantumCredentials as IBMQuantumCredentials,
    RuntimeServiceCredentials as RuntimeServiceCredentials,
)
from prefect_qiskit_runtime.dry_run import (
    DryRun as DryRun,
    DryRunCircuit as DryRunCircuit,
    PubUsage as PubUsage,
    UsageEstimate as UsageEstimate,
)
from prefect_qiskit_runtime.errors import (
    AccessDeniedError as AccessDeniedError,
    AuthenticationError as AuthenticationError,
    BudgetExceededError as BudgetExceededError,
    ConfigurationError as ConfigurationError,
    ConflictError as ConflictError,
    DecodingError as DecodingError,
    EmbeddedServiceError as EmbeddedServiceError,
    EncodingError as EncodingError,
    FlowRunCancelledError as FlowRunCancelledError,
    InvalidInputError as InvalidInputError,
    JobCancelledError as JobCancelledError,
    JobError as JobError,
    JobInterruptedError as JobInterruptedError,
    JobProcessError as JobProcessError,
    JobSessionClosedError as JobSessionClosedError,
    JobTimedOutError as JobTimedOutError,
    LoopDivergedError as LoopDivergedError,
    NotFoundError as NotFoundError,
    ProgramFailedError as ProgramFailedError,
    ProtocolError as ProtocolError,
    QiskitRuntimeError as QiskitRuntimeError,
    RateLimitedError as RateLimitedError,
    ServiceUnavailableError as ServiceUnavailableError,
    SessionClosedError as SessionClosedError,
    SubmissionUnclearError as SubmissionUnclearError,
)
from prefect_qiskit_runtime.history import (
    afetch_job_history as afetch_job_history,
    fetch_job_history as fetch_job_history,
)
from prefect_qiskit_runtime.jobs import (
    aattach_job as aattach_job,
    acancel_job as acancel_job,
    adelete_job as adelete_job,
    afetch_job_logs as afetch_job_logs,
    afetch_job_metrics as afetch_job_metrics,
    afetch_result as afetch_result,
    alist_jobs as alist_jobs,
    arun_program as arun_program,
    astream_results as astream_results,
    asubmit_program as asubmit_program,
    attach_job as attach_job,
    aupdate_job_tags as aupdate_job_tags,
    await_for_job as await_for_job,
    cancel_job as cancel_job,
    delete_job as delete_job,
    fetch_job_logs as fetch_job_logs,
    fetch_job_metrics as fetch_job_metrics,
    fetch_result as fetch_result,
    list_jobs as list_jobs,
    run_program as run_program,
    stream_results as stream_results,
    submit_program as submit_program,
    update_job_tags as update_job_tags,
    wait_for_job as wait_for_job,
)
from prefect_qiskit_runtime.loops import (
    DurableLoop as DurableLoop,
    EstimatorObjective as EstimatorObjective,
    LoopResult as LoopResult,
    LoopStep as LoopStep,
    aminimize as aminimize,
    minimize as minimize,
)
from prefect_qiskit_runtime.models import (
    JobStatus as JobStatus,
    JobUsage as JobUsage,
    ProgramMetadata as ProgramMetadata,
    ProgramSpec as ProgramSpec,
    RuntimeOptions as RuntimeOptions,
    SessionState as SessionState,
)
from prefect_qiskit_runtime.primitives import (
    arun_estimator as arun_estimator,
    arun_executor as arun_executor,
    arun_sampler as arun_sampler,
    asubmit_estimator as asubmit_estimator,
    asubmit_executor as asubmit_executor,
    asubmit_sampler as asubmit_sampler,
    run_estimator as run_estimator,
    run_executor as run_executor,
    run_sampler as run_sampler,
    submit_estimator as submit_estimator,
    submit_executor as submit_executor,
    submit_sampler as submit_sampler,
)
from prefect_qiskit_runtime.program import (
    ProgramBackend as ProgramBackend,
    ResultDecoder as ResultDecoder,
    UserMessenger as UserMessenger,
)
from prefect_qiskit_runtime.programs import (
    adelete_program as adelete_program,
    aget_program as aget_program,
    alist_programs as alist_programs,
    aprint_programs as aprint_programs,
    aset_program_visibility as aset_program_visibility,
    aupdate_program as aupdate_program,
    aupload_program as aupload_program,
    delete_program as delete_program,
    get_program as get_program,
    list_programs as list_programs,
    print_programs as print_programs,
    set_program_visibility as set_program_visibility,
    update_program as update_program,
    upload_program as upload_program,
)
from prefect_qiskit_runtime.provenance import (
    Calibration as Calibration,
    Provenance as Provenance,
)
from prefect_qiskit_runtime.runtime_job import (
    RuntimeJob as RuntimeJob,
)
from prefect_qiskit_runtime.runtime_program import (
    RuntimeProgram as RuntimeProgram,
)
from prefect_qiskit_runtime.sessions import (
    RuntimeSession as RuntimeSession,
    aruntime_batch as aruntime_batch,
    aruntime_session as aruntime_session,
    runtime_batch as runtime_batch,
    runtime_session as runtime_session,
)
from prefect_qiskit_runtime.usage import (
    areport_usage as areport_usage,
    report_usage as report_usage,
)
from prefect_qiskit_runtime.workers import (
    arelease_worker as arelease_worker,
    release_worker as release_worker,
)
