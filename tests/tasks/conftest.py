"""Programs that the tests of the tasks run."""

from __future__ import annotations

import pytest

COUNTING = '''
"""Count, publishing each number; wait for a file to appear before the last one."""

import os
import time


def main(backend, user_messenger, *, upto, wait_for=None):
    for number in range(upto):
        user_messenger.publish({"number": number})
    while wait_for is not None and not os.path.exists(wait_for):
        time.sleep(0.01)
    return {"upto": upto, "backend": backend.name}
'''


@pytest.fixture(scope="session")
def counting(service_home: object) -> str:
    """Id of a program that counts and can be held until a file exists."""
    from prefect_qiskit_runtime import upload_program

    return upload_program.fn(
        COUNTING, name="counting-until"
    )  # a name that no page of the docs uploads
