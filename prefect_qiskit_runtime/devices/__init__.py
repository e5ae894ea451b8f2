"""Devices: a QPU as the transpiler sees it, the choice of a backend, the estimate of its usage.

Start with `device_of` in `device`, `choose_backend` in `choice` and `estimate_usage` in
`usage_estimate`. Nothing here submits or changes anything at a service.
"""
