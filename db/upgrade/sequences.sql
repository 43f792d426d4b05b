-- Statements that give sequences the values that they have here.
SELECT format(
    'SELECT format(''SELECT setval(%%L, %%s, %%L);'', %L, last_value, is_called) FROM %s', name, name)
FROM (SELECT format('%I.%I', schemaname, sequencename) AS name FROM pg_sequences
      WHERE schemaname <> 'information_schema' AND schemaname !~ '^pg_') AS sequence
\gexec
