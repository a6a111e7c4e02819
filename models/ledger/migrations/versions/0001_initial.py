"""Everything the scheduler keeps."""

import sqlalchemy as sa
import sqlmodel
from alembic import op

import headway.models.columns

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:

    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("actor", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("action", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("subject", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("before", headway.models.columns.Json(), nullable=True),
        sa.Column("after", headway.models.columns.Json(), nullable=True),
        sa.Column("reason", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_at"), ["at"], unique=False)

    op.create_table(
        "setting",
        sa.Column("key", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("value", headway.models.columns.Json(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_setting")),
    )
    op.create_table(
        "task",
        sa.Column("uid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("type", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("object", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("description", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("cron", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("once", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("after_uid", sa.Integer(), nullable=True),
        sa.Column("spacing", headway.models.columns.Duration(), nullable=True),
        sa.Column("timezone", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("historical", sa.Boolean(), nullable=False),
        sa.Column(
            "window",
            sa.Enum("avoid", "require", "allow", name="WindowPolicy", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column(
            "on_failure", sa.Enum("hold", "continue", name="OnFailure", native_enum=False, length=32), nullable=False
        ),
        sa.Column(
            "on_errors", sa.Enum("continue", "stop", name="OnErrors", native_enum=False, length=32), nullable=False
        ),
        sa.Column("catch_up", sa.Enum("latest", "all", name="CatchUp", native_enum=False, length=32), nullable=False),
        sa.Column("expected_duration", headway.models.columns.Duration(), nullable=True),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("retry_delay", headway.models.columns.Duration(), nullable=False),
        sa.Column("parameters", headway.models.columns.Json(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("updated_at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("accounted_at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("next_due_at", headway.models.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("last_started_at", headway.models.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("last_run_id", sa.Integer(), nullable=True),
        sa.Column("failed_run_id", sa.Integer(), nullable=True),
        sa.Column("learned_duration", headway.models.columns.Duration(), nullable=True),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "(cron IS NULL OR once IS NULL) AND (after_uid IS NULL OR (cron IS NULL AND once IS NULL))",
            name=op.f("ck_task_one_schedule"),
        ),
        sa.ForeignKeyConstraint(["after_uid"], ["task.uid"], name=op.f("fk_task_after_uid_task")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_task")),
        sa.UniqueConstraint("name", name=op.f("uq_task_name")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("task", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_task_after_uid"), ["after_uid"], unique=False)
        batch_op.create_index(batch_op.f("ix_task_next_due_at"), ["next_due_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_task_type"), ["type"], unique=False)

    op.create_table(
        "task_type",
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("group_name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("exporter", sa.Boolean(), nullable=False),
        sa.Column("description", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("entrypoint", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("deployment_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("parameter_schema", headway.models.columns.Json(), nullable=True),
        sa.Column("tags", headway.models.columns.Json(), nullable=False),
        sa.Column("updated_at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_task_type")),
    )
    op.create_table(
        "user_account",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("password_hash", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("must_change_password", sa.Boolean(), nullable=False),
        sa.Column("locked_at", headway.models.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("failed_sign_ins", sa.Integer(), nullable=False),
        sa.Column("created_at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_account")),
        sa.UniqueConstraint("name", name=op.f("uq_user_account_name")),
    )
    op.create_table(
        "window",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("days", headway.models.columns.Json(), nullable=False),
        sa.Column("start", sa.Time(), nullable=False),
        sa.Column("end", sa.Time(), nullable=False),
        sa.Column("timezone", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_window")),
        sa.UniqueConstraint("name", name=op.f("uq_window_name")),
    )
    op.create_table(
        "worker",
        sa.Column("id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("host", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("process_id", sa.Integer(), nullable=False),
        sa.Column("process_ticks", sa.Integer(), nullable=True),
        sa.Column("process_boot", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("started_at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("seen_at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", headway.models.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("engine_problem", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )
    with op.batch_alter_table("worker", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_worker_seen_at"), ["seen_at"], unique=False)

    op.create_table(
        "run",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("task_uid", sa.Integer(), nullable=False),
        sa.Column("type", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("object", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("due_at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column(
            "trigger",
            sa.Enum("schedule", "chain", "manual", "prefect", name="Trigger", native_enum=False, length=32),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum(
                "waiting",
                "starting",
                "running",
                "completed",
                "completed_with_errors",
                "failed",
                "cancelled",
                "superseded",
                "missed",
                "skipped",
                name="RunStatus",
                native_enum=False,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("claim", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("worker_id", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("follow", sa.Boolean(), nullable=False),
        sa.Column("overrides", headway.models.columns.Json(), nullable=False),
        sa.Column("override_reason", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("requested_by", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("cause_run_id", sa.Integer(), nullable=True),
        sa.Column("created_at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("started_at", headway.models.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("running_at", headway.models.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("ended_at", headway.models.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("sorted_at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=True),
        sa.Column("parameters", headway.models.columns.Json(), nullable=True),
        sa.Column("flow_run_id", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("process_id", sa.Integer(), nullable=False),
        sa.Column("process_ticks", sa.Integer(), nullable=True),
        sa.Column("process_boot", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("process_host", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("progress", sa.Float(), nullable=True),
        sa.Column("processed", sa.Integer(), nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("message", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("error", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("retry_at", headway.models.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("reset_at", headway.models.columns.UtcDateTime(timezone=True), nullable=True),
        sa.Column("reset_by", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("cancel_asked_by", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("alerted_at", headway.models.columns.UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["task_uid"], ["task.uid"], name=op.f("fk_run_task_uid_task")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("flow_run_id", name=op.f("uq_run_flow_run_id")),
        sa.UniqueConstraint("task_uid", "due_at", "trigger", name="uq_run_occurrence"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_run_cause_run_id"), ["cause_run_id"], unique=False)
        batch_op.create_index("ix_run_log", ["sorted_at", "id"], unique=False)
        batch_op.create_index(
            "ix_run_open",
            ["status"],
            unique=False,
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )
        batch_op.create_index("ix_run_result", ["status", "sorted_at", "id"], unique=False)
        batch_op.create_index("ix_run_task_log", ["task_uid", "sorted_at", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_run_worker_id"), ["worker_id"], unique=False)

    op.create_table(
        "user_grant",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column(
            "privilege",
            sa.Enum("view", "manage", "purge", "users", name="Privilege", native_enum=False, length=32),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user_account.id"], name=op.f("fk_user_grant_user_id_user_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "privilege", name=op.f("pk_user_grant")),
    )
    op.create_table(
        "window_release",
        sa.Column("window_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("released_by", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("released_at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["window_id"], ["window.id"], name=op.f("fk_window_release_window_id_window"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("window_id", "day", name=op.f("pk_window_release")),
    )
    op.create_table(
        "lock",
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("claim", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_lock_run_id_run")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lock")),
    )
    with op.batch_alter_table("lock", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_lock_run_id"), ["run_id"], unique=False)

    op.create_table(
        "run_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("before", sqlmodel.sql.sqltypes.AutoString(), nullable=True),
        sa.Column("after", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("who", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("why", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_event_run_id_run"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_event")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("run_event", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_run_event_run_id"), ["run_id"], unique=False)

    op.create_table(
        "run_file",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("path", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("sha256", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("receipt", headway.models.columns.Json(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_file_run_id_run"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_file")),
    )
    with op.batch_alter_table("run_file", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_run_file_run_id"), ["run_id"], unique=False)

    op.create_table(
        "run_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("at", headway.models.columns.UtcDateTime(timezone=True), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("logger", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("message", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_run_log_run_id_run"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_log")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("run_log", schema=None) as batch_op:
        batch_op.create_index("ix_run_log_lines", ["run_id", "id"], unique=False)


def downgrade() -> None:

    with op.batch_alter_table("run_log", schema=None) as batch_op:
        batch_op.drop_index("ix_run_log_lines")

    op.drop_table("run_log")
    with op.batch_alter_table("run_file", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_run_file_run_id"))

    op.drop_table("run_file")
    with op.batch_alter_table("run_event", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_run_event_run_id"))

    op.drop_table("run_event")
    with op.batch_alter_table("lock", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_lock_run_id"))

    op.drop_table("lock")
    op.drop_table("window_release")
    op.drop_table("user_grant")
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_run_worker_id"))
        batch_op.drop_index("ix_run_task_log")
        batch_op.drop_index("ix_run_result")
        batch_op.drop_index(
            "ix_run_open", sqlite_where=sa.text("ended_at IS NULL"), postgresql_where=sa.text("ended_at IS NULL")
        )
        batch_op.drop_index("ix_run_log")
        batch_op.drop_index(batch_op.f("ix_run_cause_run_id"))

    op.drop_table("run")
    with op.batch_alter_table("worker", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_worker_seen_at"))

    op.drop_table("worker")
    op.drop_table("window")
    op.drop_table("user_account")
    op.drop_table("task_type")
    with op.batch_alter_table("task", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_task_type"))
        batch_op.drop_index(batch_op.f("ix_task_next_due_at"))
        batch_op.drop_index(batch_op.f("ix_task_after_uid"))

    op.drop_table("task")
    op.drop_table("setting")
    with op.batch_alter_table("audit", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_audit_at"))

    op.drop_table("audit")
