"""run.sh and its commands, as a user runs them: under dash, bash and busybox."""
