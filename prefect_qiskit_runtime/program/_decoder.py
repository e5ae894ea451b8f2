"""The decoder that turns the results of a program back into values."""

from __future__ import annotations

from typing import Any

from prefect_qiskit_runtime.codec import decode


class ResultDecoder:
    """Decodes the results of a program; subclass it for a program with a custom result type.

    ```python
    class VQEResultDecoder(ResultDecoder):
        @classmethod
        def decode(cls, data):
            return VQEResult(**super().decode(data))
    ```
    """

    @classmethod
    def decode(cls, data: str | bytes) -> Any:
        """Decode an interim or final result.

        Args:
            data: The encoded text.

        Raises:
            DecodingError: The text was not written by an encoder of the runtime.
        """
        return decode(data)
