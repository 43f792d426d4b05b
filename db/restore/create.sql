-- An empty database for a backup, beside the site's. Variables: owner. What a killed restore left behind goes first.
DROP DATABASE IF EXISTS restoring WITH (FORCE);
CREATE DATABASE restoring OWNER :"owner" TEMPLATE template0;
