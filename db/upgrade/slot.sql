-- From here on this server keeps what is written for the other one. Variable slot.
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = :'slot' AND NOT active;
SELECT pg_create_logical_replication_slot(:'slot', 'pgoutput');
