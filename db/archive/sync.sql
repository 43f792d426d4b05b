-- Whether the archive receives (here, away), and whether commits wait for it (waits, free).
SELECT CASE WHEN EXISTS (SELECT FROM pg_stat_replication WHERE application_name = 'postdo_archive' AND state = 'streaming')
            THEN 'here' ELSE 'away' END
    || CASE WHEN current_setting('synchronous_standby_names') = '' THEN '-free' ELSE '-waits' END;
