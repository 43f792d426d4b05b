-- Before a volume is moved over: one who may rename the superuser (nobody can rename himself), and the heir of its objects.
SELECT format('CREATE ROLE %I LOGIN SUPERUSER', :'mover')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'mover') \gexec
SELECT format('CREATE ROLE %I', :'heir')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'heir') \gexec
