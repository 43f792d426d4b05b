-- The major of this server, such as 18.
SELECT current_setting('server_version_num')::int / 10000;
