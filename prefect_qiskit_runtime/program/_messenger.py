"""The messenger with which a program publishes results while it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from prefect_qiskit_runtime.codec import RuntimeEncoder, encode

Sink = Callable[[str, bool], None]


class UserMessenger:
    """Publishes interim results and, on request, the final result.

    A program receives one as its argument `user_messenger`. Outside a job, it prints the results
    instead, so that a program can be tried out by calling its `main`.
    """

    def __init__(self, sink: Sink | None = None) -> None:
        """Create a messenger.

        Args:
            sink: Receives the encoded text, and whether it is the final result. None prints.
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
            message: The value to publish.
            encoder: A JSON encoder to use instead of `RuntimeEncoder`.
            final: Whether it is the program's result. A value other than None that `main` returns
                takes precedence over it.

        Raises:
            EncodingError: Some part of the message has no encoding; nothing was published.
        """
        text = encode(message, encoder=encoder)
        if self._sink is None:
            print(text)  # noqa: T201 (the purpose of a messenger outside a job)
        else:
            self._sink(text, final)
