-- Nothing is kept for an archive any more. The role goes first, so that the receiver does not come back meanwhile.
SELECT format('ALTER ROLE %I NOLOGIN PASSWORD NULL', rolname) FROM pg_roles WHERE rolname = :'archive' \gexec
SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots WHERE slot_name = :'archive' AND active \g /dev/null
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = :'archive' AND NOT active \g /dev/null
