-- The extensions that the image of this server has, one a line.
SELECT name FROM pg_available_extensions ORDER BY 1;
