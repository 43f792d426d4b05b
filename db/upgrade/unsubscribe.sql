-- Follows nobody any more. The slot is the other server's to remove.
SELECT format('ALTER SUBSCRIPTION postdo_upgrade %s', what)
FROM pg_subscription, unnest(ARRAY['DISABLE', 'SET (slot_name = NONE)']) WITH ORDINALITY AS step (what, number)
WHERE subname = 'postdo_upgrade' ORDER BY number
\gexec
DROP SUBSCRIPTION IF EXISTS postdo_upgrade;
