-- The options of initdb for a cluster of the same encoding and language, separated by NUL. PostgreSQL 14 to 18: providers
-- other than libc came with 15 (icu) and 17 (builtin), and the name of the column changed with 17.
SELECT unnest(array_remove(ARRAY[
    '--encoding=' || pg_encoding_to_char((template ->> 'encoding')::int),
    '--lc-collate=' || (template ->> 'datcollate'),
    '--lc-ctype=' || (template ->> 'datctype'),
    '--lc-messages=' || current_setting('lc_messages'),
    '--lc-monetary=' || current_setting('lc_monetary'),
    '--lc-numeric=' || current_setting('lc_numeric'),
    '--lc-time=' || current_setting('lc_time'),
    CASE template ->> 'datlocprovider' WHEN 'i' THEN '--locale-provider=icu' WHEN 'b' THEN '--locale-provider=builtin' END,
    CASE template ->> 'datlocprovider'
        WHEN 'i' THEN '--icu-locale=' || coalesce(template ->> 'datlocale', template ->> 'daticulocale')
        WHEN 'b' THEN '--builtin-locale=' || (template ->> 'datlocale')
    END,
    CASE current_setting('data_checksums') WHEN 'on' THEN '--data-checksums' END
], NULL))
FROM (SELECT to_jsonb(pg_database) AS template FROM pg_database WHERE datname = 'template0') AS template0;
