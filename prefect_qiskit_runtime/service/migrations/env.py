"""Configure Alembic to use the store's connection."""

from alembic import context

from prefect_qiskit_runtime.service.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
