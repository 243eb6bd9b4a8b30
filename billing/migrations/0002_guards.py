"""What no code path may do: unbalanced postings, edited books, edited documents."""

from django.db import migrations

# Rows that are only ever added.
APPEND_ONLY = ["billing_ledgertxn", "billing_ledgerleg", "billing_documentsession"]
# What was issued. State, payment and the rendered file may still change.
FROZEN = [
    "entity_id", "operator_id", "account_id", "corrects_id", "kind", "year", "sequence", "number", "issued_at", "period",
    "currency", "gross_first", "excl_vat_minor", "vat_minor", "incl_vat_minor", "language", "body", "sha256", "prev_sha256",
]
OLD = ", ".join(f"OLD.{column}" for column in FROZEN)
NEW = ", ".join(f"NEW.{column}" for column in FROZEN)

POSTGRESQL = [
    """
    CREATE FUNCTION billing_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation'; END $$
    """,
    """
    CREATE FUNCTION billing_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (
            SELECT 1 FROM billing_ledgerleg WHERE txn_id = NEW.txn_id GROUP BY currency HAVING SUM(amount) <> 0
        ) THEN
            RAISE EXCEPTION 'posting % does not sum to zero', NEW.txn_id USING ERRCODE = 'check_violation';
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE CONSTRAINT TRIGGER ledger_balanced AFTER INSERT ON billing_ledgerleg
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_balanced()
    """,
    """
    ALTER TABLE billing_ledgerleg ADD CONSTRAINT ledger_leg_currency
    FOREIGN KEY (account_id, currency) REFERENCES billing_ledgeraccount (id, currency)
    """,
    f"""
    CREATE TRIGGER document_frozen BEFORE UPDATE ON billing_document FOR EACH ROW
    WHEN (({OLD}) IS DISTINCT FROM ({NEW})) EXECUTE FUNCTION billing_append_only()
    """,
    "CREATE TRIGGER document_kept BEFORE DELETE ON billing_document FOR EACH ROW EXECUTE FUNCTION billing_append_only()",
    *(
        f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION billing_append_only()"
        for table in APPEND_ONLY
    ),
]

SQLITE = [
    """
    CREATE TRIGGER ledger_leg_currency BEFORE INSERT ON billing_ledgerleg
    WHEN NEW.currency <> (SELECT currency FROM billing_ledgeraccount WHERE id = NEW.account_id)
    BEGIN SELECT RAISE(ABORT, 'the currency of a leg is that of its account'); END
    """,
    f"""
    CREATE TRIGGER document_frozen BEFORE UPDATE ON billing_document WHEN ({OLD}) IS NOT ({NEW})
    BEGIN SELECT RAISE(ABORT, 'billing_document is append-only'); END
    """,
    """
    CREATE TRIGGER document_kept BEFORE DELETE ON billing_document
    BEGIN SELECT RAISE(ABORT, 'billing_document is append-only'); END
    """,
    *(
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for table in APPEND_ONLY
        for verb in ("UPDATE", "DELETE")
    ),
]


def guard(apps, schema_editor):
    """Install the guards in the words of this database."""
    with schema_editor.connection.cursor() as cursor:
        for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
            cursor.execute(statement)


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]
    operations = [migrations.RunPython(guard)]
