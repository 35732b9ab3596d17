"""Entries of a kind are found without reading all the others: the register, the audit."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    op.create_index("ledger_entries_by_kind", "ledger_entries", ["kind", "index"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ledger_entries_by_kind", "ledger_entries")
