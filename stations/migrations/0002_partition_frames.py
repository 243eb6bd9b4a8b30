"""On PostgreSQL the journal is partitioned by time from the first day, so that retention drops partitions."""

from django.db import migrations

PARTITION = """
CREATE TABLE stations_frame_new (LIKE stations_frame INCLUDING DEFAULTS) PARTITION BY RANGE (at);
DROP TABLE stations_frame;
ALTER TABLE stations_frame_new RENAME TO stations_frame;
CREATE SEQUENCE stations_frame_id_seq OWNED BY stations_frame.id;
ALTER TABLE stations_frame ALTER COLUMN id SET DEFAULT nextval('stations_frame_id_seq');
ALTER TABLE stations_frame ADD PRIMARY KEY (id, at);
CREATE INDEX frame_by_station ON stations_frame (station_id, id DESC);
CREATE TABLE stations_frame_default PARTITION OF stations_frame DEFAULT;
"""


def partition(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(PARTITION)


class Migration(migrations.Migration):
    dependencies = [("stations", "0001_initial")]
    operations = [migrations.RunPython(partition, migrations.RunPython.noop)]
