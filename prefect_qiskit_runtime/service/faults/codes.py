"""Default status, reason and solution of injected reason codes."""

from __future__ import annotations

from prefect_qiskit_runtime.models import JobStatus, ReasonCode

# IBM's reason codes grouped by the advice in its documentation, in our words. The first group that
# contains a code applies.
_ADVICE: tuple[tuple[str, str], ...] = (
    (
        "Submit the job again.",
        "1000 1006 1008 1010 1011 1500 3202 3203 3210 3212 3233-3235 3251 3300 3301 5203 5204 9999",
    ),
    ("Fetch the result again.", "3208 3253"),
    ("Wait, then submit the job again.", "1012 1202 1233 1999 3458"),
    ("Use another backend.", "1004 1007 1009 2002 2615 3245 3246"),
    ("Transpile the circuits again.", "1517"),
    ("Open a new session and submit the job again.", "4001 90007"),
    ("Make the job smaller.", "1305 3242 3243 3248 5201 5302 6000-6003 8000-8999"),
    (
        "Correct the job, or what the account may do.",
        "1002-1005 1101-1109 1200-1205 2407-2411 3211 3220 3400-3499 4317 5202 7000-7999",
    ),
)


def status_of(code: int) -> JobStatus:
    """Return how a job with this code ends: IBM cancels jobs that ran too long; others fail."""
    return JobStatus.CANCELLED if code == ReasonCode.RAN_TOO_LONG else JobStatus.FAILED


def reason_of(code: int) -> str:
    """Return a text for why a job with this code ended."""
    if code == ReasonCode.RAN_TOO_LONG:
        return "Ran too long"
    return f"The job ended with code {code}, as requested by a fault mode scenario."


def solution_of(code: int) -> str | None:
    """Return the advice for a code; None if the code is in no group."""
    return next((advice for advice, codes in _ADVICE if _holds(codes, code)), None)


def _holds(codes: str, code: int) -> bool:
    ranges = (part.partition("-") for part in codes.split())
    return any(int(first) <= code <= int(last or first) for first, _, last in ranges)
