"""First tables of the ledger of recorders."""

import sqlalchemy as sa
from alembic import op

revision = "recorders_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "recorders",
        sa.Column("recorder_id", sa.String(63), primary_key=True),
        sa.Column("unit_id", sa.String(200), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "recorder_holders",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("recorder_id", sa.String(63), sa.ForeignKey("recorders.recorder_id"), nullable=False),
        sa.Column("account_id", sa.String(200), nullable=False),
        sa.Column("from_ms", sa.BigInteger, nullable=False),
        sa.Column("to_ms", sa.BigInteger, nullable=True),
    )
    op.create_index("recorder_holders_by_recorder", "recorder_holders", ["recorder_id", "from_ms"])
    op.create_table(
        "recorder_tokens",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("recorder_id", sa.String(63), sa.ForeignKey("recorders.recorder_id"), nullable=False),
        sa.Column("made_at_ms", sa.BigInteger, nullable=False),
        sa.Column("made_by", sa.String(200), nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=True),
    )
    op.create_index("recorder_tokens_by_recorder", "recorder_tokens", ["recorder_id"])
    op.create_table(
        "recorder_lines",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("recorder_id", sa.String(63), sa.ForeignKey("recorders.recorder_id"), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("what", sa.String(40), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_index("recorder_lines_by_recorder", "recorder_lines", ["recorder_id", "number"])
    op.create_table(
        "recorder_checks",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("recorder_id", sa.String(63), sa.ForeignKey("recorders.recorder_id"), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("passed", sa.Boolean, nullable=False),
        sa.Column("points", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_index("recorder_checks_by_recorder", "recorder_checks", ["recorder_id", "at_ms"])
    op.create_index("recorder_checks_by_time", "recorder_checks", ["at_ms"])


def downgrade() -> None:
    """Drop them."""
    for name in ("recorder_checks", "recorder_lines", "recorder_tokens", "recorder_holders", "recorders"):
        op.drop_table(name)
