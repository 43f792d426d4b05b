-- What is in the WAL: logical replication needs logical.
SHOW wal_level;
