"""The base class of all models, and the protocol version."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

PROTOCOL_VERSION = 1
"""Version of our additions to IBM's protocol. Part of the embedded home's path."""


class Wire(BaseModel):
    """The base class. Unknown fields are ignored, not refused: services add fields."""

    # Validation errors name the field, not its value, which may be an input or a result.
    model_config = ConfigDict(extra="ignore", populate_by_name=True, hide_input_in_errors=True)
