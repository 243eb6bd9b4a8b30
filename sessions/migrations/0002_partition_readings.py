"""On PostgreSQL readings are partitioned by time from the first day, so that retention drops partitions."""

from django.db import migrations

PARTITION = """
CREATE TABLE charging_meterreading_new (LIKE charging_meterreading INCLUDING DEFAULTS) PARTITION BY RANGE (at);
DROP TABLE charging_meterreading;
ALTER TABLE charging_meterreading_new RENAME TO charging_meterreading;
ALTER TABLE charging_meterreading ADD PRIMARY KEY (session_id, at, digest);
CREATE TABLE charging_meterreading_default PARTITION OF charging_meterreading DEFAULT;
"""


def partition(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(PARTITION)


class Migration(migrations.Migration):
    dependencies = [("charging", "0001_initial")]
    operations = [migrations.RunPython(partition, migrations.RunPython.noop)]
