# restic, for the copies of backups off the machine (lib/offsite.sh), on the Python image of the site: postdo_backup runs it.
# It has no build context, and is built when OFFSITE is set.
ARG PYTHON_IMAGE=python:3.13-slim
# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE}
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates openssh-client restic \
    && rm -rf /var/lib/apt/lists/*
