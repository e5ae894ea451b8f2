"""Publish one part, wait until a file appears, and publish the other part."""

import time
from pathlib import Path


def main(backend, user_messenger, *, gate):
    user_messenger.publish({"part": "before"})
    while not Path(gate).exists():
        time.sleep(0.01)
    user_messenger.publish({"part": "after"})
    return "done"
