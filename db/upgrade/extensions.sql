-- The extensions that a database has, one a line.
SELECT extname FROM pg_extension ORDER BY 1;
