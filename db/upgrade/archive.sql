-- The archive for points in time (db/archive.sh) receives the WAL of the server that serves: this one keeps none for it.
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'postdo_archive' AND NOT active;
