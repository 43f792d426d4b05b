-- The databases of a cluster that can be connected to, one a line; those of an interrupted DROP DATABASE cannot (-2).
SELECT datname FROM pg_database WHERE datallowconn AND datconnlimit <> -2 ORDER BY oid;
