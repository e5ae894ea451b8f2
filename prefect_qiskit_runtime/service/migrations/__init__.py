"""Alembic migrations of the service's database. They run by themselves when it starts."""
