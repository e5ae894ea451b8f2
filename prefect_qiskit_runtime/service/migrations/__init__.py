"""Alembic migrations of the service's database. They run automatically when it starts."""
