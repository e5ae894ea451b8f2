"""What the blocks have in common: a picture, and that parameters of deployments refer to them."""

from __future__ import annotations

from pydantic import GetJsonSchemaHandler, HttpUrl
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

# Qiskit's picture, on a host that its blocks of other collections use. Prefect takes http addresses
# only, not data URIs.
LOGO_URL = HttpUrl("https://avatars.githubusercontent.com/u/30696987?s=200&v=4")


class Referable:
    """A block none of whose fields is required.

    Prefect's server takes for the parameter of a deployment *either* a reference to a saved block
    *or* the fields of one. To a block without required fields a reference is both, and refused.
    Prefect's UI sends back the keywords of a schema that it knows: `allOf` is one, `not` is none.
    """

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        handler.resolve_ref_schema(schema)["allOf"] = [{"not": {"required": ["$ref"]}}]
        return schema
