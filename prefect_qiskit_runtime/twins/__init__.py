"""Synchronous twins of asynchronous code, and helpers that let both be interrupted safely.

`sync` makes the twins (`blocking` of methods, `sync_twin` of functions) and runs them in one event
loop of the process, `ahead` reads an async generator ahead of a slower reader, `clean_up` lets code
that is being cancelled finish its clean-up. Nothing here knows about Prefect, jobs or services.
"""
