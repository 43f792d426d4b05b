-- The size of the database in whole megabytes, as postdo counts it. PostgreSQL 14 to 18.
SELECT pg_database_size(current_database()) / 1048576;
