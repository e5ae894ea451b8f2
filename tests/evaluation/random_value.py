"""A program: publish numbers, wait for a file if asked to, and return a random number."""

import random
import time
from pathlib import Path

PUBLISHED = 3


def main(backend, user_messenger, wait_for=None, fail=False, **kwargs):
    for number in range(PUBLISHED):
        user_messenger.publish(number)
    while wait_for is not None and not Path(wait_for).exists():
        time.sleep(0.01)
    if fail:
        raise RuntimeError("as asked")
    return {"value": random.random()}
