-- How many connections of others the site's database lets in. Variable: database.
SELECT datconnlimit FROM pg_database WHERE datname = :'database';
