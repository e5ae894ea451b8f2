"""The base of all models, and the version of the protocol."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

PROTOCOL_VERSION = 1
"""Version of what our own client and service add to IBM's protocol. Part of the embedded home."""


class Wire(BaseModel):
    """Unknown fields are kept out of the way, not refused: services add fields."""

    # Errors of validation name the place, not what stood there: it may be an input or a result.
    model_config = ConfigDict(extra="ignore", populate_by_name=True, hide_input_in_errors=True)
