"""How a program publishes results while it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from prefect_qiskit_runtime.codec import RuntimeEncoder, encode

Sink = Callable[[str, bool], None]


class UserMessenger:
    """Publishes interim results, and on request the final one.

    A program gets one as its argument `user_messenger`. Outside a job, where nobody listens, it
    prints what it would send, so that a program can be tried out by calling its `main`.
    """

    def __init__(self, sink: Sink | None = None) -> None:
        """Create a messenger.

        Args:
            sink: Takes the encoded text, and whether it is the final result. None prints.
        """
        self._sink = sink

    def publish(
        self,
        message: Any,
        encoder: type[json.JSONEncoder] = RuntimeEncoder,
        final: bool = False,
    ) -> None:
        """Publish a result.

        Args:
            message: What to publish.
            encoder: Encodes it, where `RuntimeEncoder` does not do.
            final: Whether it is the program's result. What `main` returns, unless None, takes
                precedence over it.

        Raises:
            EncodingError: Some part of the message has no encoding; nothing was published.
        """
        text = encode(message, encoder=encoder)
        if self._sink is None:
            print(text)  # noqa: T201 (that is what it is for outside a job)
        else:
            self._sink(text, final)
