-- The tablespaces that are not PostgreSQL's own, one a line: they lie outside of the cluster's folder.
SELECT spcname FROM pg_tablespace WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1;
