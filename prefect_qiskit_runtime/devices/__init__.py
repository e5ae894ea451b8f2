"""Devices: how a QPU looks to the transpiler, which one a job goes to, how long it will be used.

Start with `device_of` in `device`, `choose_backend` in `choice` and `estimate_usage` in
`usage_estimate`. Nothing here submits or changes anything at a service.
"""
