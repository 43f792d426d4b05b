-- Follows the server that serves. Variables: connection, slot; copy, true or false: the rows that are there, for whom the slot
-- is made, or only those since the slot was made.
SELECT format(
    'CREATE SUBSCRIPTION postdo_upgrade CONNECTION %L PUBLICATION postdo_upgrade WITH (slot_name = %I, copy_data = %s, create_slot = %s)',
    :'connection', :'slot', :'copy', :'copy')
WHERE NOT EXISTS (SELECT FROM pg_subscription WHERE subname = 'postdo_upgrade')
\gexec
ALTER SUBSCRIPTION postdo_upgrade ENABLE;
