-- Keeps nothing for a server that followed; true if nothing is left: a slot that is in use is so for a moment after its user
-- was ended. Also those of copies of tables.
SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active AND slot_name ~ '^(postdo_to_|pg_[0-9]+_sync_)' \g /dev/null
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
WHERE slot_type = 'logical' AND NOT active AND database = current_database() AND slot_name ~ '^(postdo_to_|pg_[0-9]+_sync_)' \g /dev/null
DROP PUBLICATION IF EXISTS postdo_upgrade;
SELECT NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name ~ '^(postdo_to_|pg_[0-9]+_sync_)');
