"""The Prefect run around a call: its lineage, its end, its events, its logger.

This room never submits a job and never waits for one. Start with `lineage` (the place of a call in
its flow run), `cancelled` (no submission below a cancelled flow run), `ending` (noticing that the
run is being cancelled), `events` and `logger`.
"""
