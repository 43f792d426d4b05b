-- A named restore point: its place in the WAL, the time, and the server that it is of.
SELECT pg_create_restore_point(:'name'), extract(epoch FROM clock_timestamp())::bigint, system_identifier FROM pg_control_system();
