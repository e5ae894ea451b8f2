"""The parts that all blocks of this package share: how their fields are read, saved and shown.

`fields` has `STRICT` and `StrictFields` (unknown fields are refused, but saved documents load),
`SecretFields` (masked secrets are refused) and `Referable` (deployments can refer to the block).
Nothing here knows what a block is for.
"""
