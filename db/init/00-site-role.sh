#!/bin/sh
# db/init/00-site-role.sh: the site's role (POSTGRES_USER in .env) and its database, before any script of yours.
sh /etc/postdo/roles.sh first-start
