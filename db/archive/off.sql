-- Nothing is kept for an archive any more.
SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = :'archive' AND active \g /dev/null
SELECT pg_sleep(0.2) FROM pg_replication_slots WHERE slot_name = :'archive' AND active \g /dev/null
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = :'archive' AND NOT active \g /dev/null
SELECT format('ALTER ROLE %I NOLOGIN PASSWORD NULL', rolname) FROM pg_roles WHERE rolname = :'archive' \gexec
