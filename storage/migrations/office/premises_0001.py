"""First tables of sites and cameras."""

import sqlalchemy as sa
from alembic import op

revision = "premises_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "sites",
        sa.Column("site_id", sa.String(63), primary_key=True),
        sa.Column("unit_id", sa.String(63), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("changed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("changed_by", sa.String(200), nullable=False),
    )
    op.create_index("sites_by_unit", "sites", ["unit_id"])
    op.create_table(
        "cameras",
        sa.Column("camera_id", sa.String(63), primary_key=True),
        sa.Column("site_id", sa.String(63), sa.ForeignKey("sites.site_id"), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("cameras_by_site", "cameras", ["site_id"])
    op.create_table(
        "camera_secrets",
        sa.Column("camera_id", sa.String(63), sa.ForeignKey("cameras.camera_id"), primary_key=True),
        sa.Column("address", sa.String(2200), nullable=False),
    )
    op.create_table(
        "camera_steps",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("camera_id", sa.String(63), sa.ForeignKey("cameras.camera_id"), nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String(200), nullable=False),
        sa.Column("what", sa.String(40), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.create_index("camera_steps_by_camera", "camera_steps", ["camera_id", "number"])


def downgrade() -> None:
    """Drop them."""
    for name in ("camera_steps", "camera_secrets", "cameras", "sites"):
        op.drop_table(name)
