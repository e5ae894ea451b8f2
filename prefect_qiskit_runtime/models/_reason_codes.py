"""The table of reason codes: the next step after a job has ended without a result.

Four-digit codes are IBM's (https://quantum.cloud.ibm.com/docs/errors), five-digit codes ours.
"""

from __future__ import annotations

from enum import StrEnum

from prefect_qiskit_runtime.models._jobs import ReasonCode

__all__ = ["NO_SESSIONS_IN_PLAN", "NextStep", "next_step"]

NO_SESSIONS_IN_PLAN = 1352
"""Code of IBM's answer (400) to opening a session on the open plan: "You are not authorized to run
a session when using the open plan." """


class NextStep(StrEnum):
    """The caller's next step; the value describes it."""

    SEND_AGAIN = "The fault may be transient: the same job can be sent again."
    SEND_AGAIN_ONCE = "An unknown fault of the service: the same job can be sent again once."
    WAIT = "The service is not accepting jobs now: send the job later."
    FETCH_AGAIN = "The job has a result that did not arrive: fetch the result again, do not resend."
    OTHER_BACKEND = "This backend cannot run the job: choose another one."
    TRANSPILE_AGAIN = (
        "Transpile the circuits again for the device as it is now; transpile=True of the call or of"
        " the RuntimeBackend does so."
    )
    NEW_SESSION = "The job's session has ended: open another one and send the job there."
    MAKE_SMALLER = "Make the job smaller, or raise its limit."
    STOP = "Correct the error before you send the job again."
    UNKNOWN = "This reason code is unknown: the job is not sent again automatically."

    @property
    def sends_again(self) -> bool:
        """Whether sending the same job again may succeed."""
        return self in (NextStep.SEND_AGAIN, NextStep.SEND_AGAIN_ONCE, NextStep.WAIT)


def _codes(text: str) -> frozenset[int]:
    """Parse numbers and ranges of numbers."""
    found: set[int] = set()
    for part in text.split():
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


_TABLE = {
    NextStep.SEND_AGAIN: _codes(
        "1000 1006 1008 1010 1011 1500 3202 3203 3210 3212 3233-3235 3251 3300 3301 5203 5204"
    )
    | {ReasonCode.CREDENTIALS_MISSING},
    NextStep.SEND_AGAIN_ONCE: _codes("9999"),
    NextStep.FETCH_AGAIN: _codes("3208 3253"),
    # 423 is the HTTP status of a reserved device, which an answer may repeat as its code.
    NextStep.WAIT: _codes("423 1012 1202 1233 1999 3458"),
    NextStep.OTHER_BACKEND: _codes("1004 1007 1009 2002 2615 3245 3246"),
    NextStep.TRANSPILE_AGAIN: _codes("1517"),
    NextStep.NEW_SESSION: _codes("4001") | {ReasonCode.SESSION_CLOSED},
    NextStep.MAKE_SMALLER: _codes("1305 3242 3243 3248 5201 5302 6000-6003 8000-8999")
    | {ReasonCode.MEMORY_LIMIT, ReasonCode.HARDWARE_BUDGET, ReasonCode.MESSAGE_LIMIT},
    NextStep.STOP: _codes(
        "1002 1003 1005 1101-1109 1200 1201 1204 1205 2407-2411 3211 3220 3400-3457 3459-3499"
        " 4317 5202 7000-7999"
    )
    | {
        ReasonCode.PROGRAM_RAISED,
        ReasonCode.PROGRAM_EXITED,
        ReasonCode.KILLED_BY_SIGNAL,
        ReasonCode.START_FAILED,
        ReasonCode.RESULT_NOT_ENCODABLE,
    },
}
_STEPS = {code: step for step, codes in _TABLE.items() for code in codes}


def next_step(reason_code: int | None) -> NextStep:
    """Return the next step after a job ended with a code. Without a code, it is STOP."""
    return NextStep.STOP if reason_code is None else _STEPS.get(reason_code, NextStep.UNKNOWN)
