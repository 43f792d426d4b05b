-- The backticks run `printf` of an environment variable: a password in -v would show in `ps`.
\set password `printf %s "$PASSWORD"`
ALTER ROLE :"role" PASSWORD :'password';
