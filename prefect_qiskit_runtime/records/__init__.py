"""Records: details of each job, kept for a later process, an artifact or a comparison.

`records` stores and deletes small documents in Prefect's result storage, `provenance` collects
where a result comes from, `job_settings` reads from its inputs how a job is measured, `summaries`
shows ended jobs in Prefect's UI, `comparison` compares two jobs. Nothing here submits.
"""
