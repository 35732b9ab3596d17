"""First tables of the ledger: entries, checkpoints, deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.String(200)
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "ledger_entries",
        sa.Column("index", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("recorder_id", _ID),
        sa.Column("session_id", _ID),
        sa.Column("line", sa.LargeBinary, nullable=False),
        sa.Column("nodes", sa.LargeBinary, nullable=False),
    )
    op.create_index("ledger_entries_by_id", "ledger_entries", ["id"], unique=True)
    op.create_index("ledger_entries_by_session", "ledger_entries", ["recorder_id", "session_id", "index"])
    op.create_table(
        "ledger_checkpoints",
        sa.Column("size", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("made_at_ms", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("timestamp", sa.LargeBinary),
    )
    op.create_table(
        "ledger_deliveries",
        sa.Column("place", sa.String(500), primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("delivered_at_ms", sa.BigInteger, nullable=False),
        sa.Column("receipt", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("ledger_entries", "ledger_checkpoints", "ledger_deliveries"):
        op.drop_table(table)
