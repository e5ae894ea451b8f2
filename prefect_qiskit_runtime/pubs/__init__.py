"""PUBs: from the forms in which users write them to the inputs of a job.

`primitive_inputs` and `executor_inputs` read PUBs, options and quantum programs, `preparation`
transpiles and checks them for a backend, `splitting` divides a large call into several jobs,
`requests` makes the requests that evaluations start from. Nothing here submits.
"""
