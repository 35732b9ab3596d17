"""First table of the units."""

import sqlalchemy as sa
from alembic import op

revision = "units_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make it."""
    op.create_table(
        "units",
        sa.Column("unit_id", sa.String(200), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("units")
