# The web image, for the Django project that stands in web/. Build context: the root of the clone.
#
#   development   the kit and the development requirements; the source comes by bind mount          (run.sh -1)
#   production    the kit, the production requirements, the source and its collected static files   (run.sh -0)
#
# Ordered by how often a thing changes: system, requirements, kit, project, version. A change in web/ redoes only the
# last two. Bytecode has no time stamp in it (unchecked-hash), so that the same input gives the same files.
# There is no "# syntax=" line: it would be downloaded at every build.

# The Python image: web/.python-version, or PYTHON_IMAGE in .env. PostgreSQL's: POSTGRES_IMAGE in .env. Both are based on
# the same release of Debian: pg_dump of the second is copied into the first, and needs its C library.
ARG PYTHON_IMAGE=python:3.13-slim
ARG POSTGRES_IMAGE=postgres:18
FROM ${PYTHON_IMAGE} AS base
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/opt/kit \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    USER=app
WORKDIR /app
# Debian packages that the project needs at run time, such as "gdal-bin gettext" (APT_PACKAGES in .env). Usually none.
ARG APT_PACKAGES=""
# hadolint ignore=DL3008,SC2086
RUN if [ -n "$APT_PACKAGES" ]; then \
        apt-get update && apt-get install --yes --no-install-recommends $APT_PACKAGES && rm -rf /var/lib/apt/lists/*; \
    fi \
    && groupadd --gid 10001 app \
    && useradd --uid 10001 --gid app --home-dir /tmp --no-create-home --no-log-init --shell /usr/sbin/nologin app


# ---- Requirements: copied alone, so that a change of the source does not install them again ----

FROM base AS requirements
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# What it takes to compile requirements that have no wheel, such as "gcc libc6-dev libpq-dev" (APT_BUILD_PACKAGES in
# .env). Stays out of the result.
ARG APT_BUILD_PACKAGES=""
# hadolint ignore=DL3008,SC2086
RUN if [ -n "$APT_BUILD_PACKAGES" ]; then \
        apt-get update && apt-get install --yes --no-install-recommends $APT_BUILD_PACKAGES && rm -rf /var/lib/apt/lists/*; \
    fi \
    && python -m venv --without-pip /venv
WORKDIR /requirements
# [s] makes a pattern of the name: a pattern may match nothing, a name may not. So either of the two may be missing.
COPY web/requirements*.txt ./
COPY web/requirement[s] ./requirements/
# Packages of the project's own that the requirements name by their path, such as ./libs/shop.
COPY web/lib[s] ./libs/
# The parts that are on (COMPOSE_PROFILES in .env) have requirements of their own.
ARG COMPOSE_PROFILES=""

# The secrets, if docker-compose.override.yml gives any, are there for this one step and in no layer (docs/additions.md):
# pip.conf for a package index of your own, .netrc for logins (pip and git read it).
FROM requirements AS requirements-development
RUN --mount=type=cache,target=/tmp/.cache/pip --mount=type=bind,source=image,target=/image \
    --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=netrc,target=/tmp/.netrc \
    sh /image/install.sh development

FROM requirements AS requirements-production
RUN --mount=type=cache,target=/tmp/.cache/pip --mount=type=bind,source=image,target=/image \
    --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=netrc,target=/tmp/.netrc \
    sh /image/install.sh production


# ---- The kit: what is the same for every project ----

FROM base AS kit
WORKDIR /opt/kit
COPY create-super-user.py entrypoint.sh gunicorn.conf.py healthcheck.py ./
COPY postdo/ postdo/
COPY postdo_serving/ postdo_serving/
COPY postdo_backup/ postdo_backup/
COPY postdo_tasks/ postdo_tasks/
# A clone made under umask 077 has files that the user "app" could not read.
RUN chmod -R a+rX . && chmod a+x entrypoint.sh \
    && python -m compileall -q --invalidation-mode unchecked-hash .


# ---- pg_dump and pg_restore, of the server's own major ----

# hadolint ignore=DL3006
FROM ${POSTGRES_IMAGE} AS postgresql
COPY image/postgresql.sh /tmp/
RUN sh /tmp/postgresql.sh /opt/postgresql


# ---- The development image ----

FROM base AS development
COPY --from=requirements-development /venv /venv
COPY --from=postgresql /opt/postgresql /opt/postgresql
COPY --from=kit /opt/kit /opt/kit
USER 10001:10001
EXPOSE 8000
ENTRYPOINT ["/opt/kit/entrypoint.sh"]
CMD ["python", "manage.py", "runserver", "0.0.0.0:8000"]


# ---- The production image ----

FROM base AS project
COPY --from=requirements-production /venv /venv
COPY --from=kit /opt/kit /opt/kit
COPY web/ ./
ARG PROD_SETTINGS=config.settings.prod
ARG COMPOSE_PROFILES=""
# One build at a time has the cache: collect.sh says for what.
RUN --mount=type=bind,source=image,target=/image --mount=type=cache,target=/static-cache,sharing=locked \
    DJANGO_SETTINGS_MODULE=$PROD_SETTINGS sh /image/collect.sh /opt/kit/check-stamp.json /static-cache

FROM base AS production
# Nothing is installed into the result any more.
RUN python -c 'import pathlib, pip, shutil; shutil.rmtree(pathlib.Path(pip.__file__).parent)' && rm -f "$(command -v pip)"*
COPY --from=requirements-production /venv /venv
COPY --from=postgresql /opt/postgresql /opt/postgresql
# Where uploads are while they come in, on disk, and where they stay: for everyone (/files/public/media), and for whom the site
# says. Compose mounts volumes there, which take their owner from here. The group of the latter may write: a release's
# migrations run as whoever owns backups/, and are of that group.
ENV POSTDO_UPLOADS=/uploads
RUN install -d -m 700 -o app -g app /uploads \
    && install -d -m 2775 -o app -g app /files /files/public /files/public/media /files/private
# One that does not start here (another C library) is found now, and not at the first release that changes the schema.
RUN /opt/postgresql/bin/pg_dump --version && /opt/postgresql/bin/pg_restore --version
COPY --from=project /opt/kit /opt/kit
COPY --from=project /app /app
USER 10001:10001
EXPOSE 8000
ENTRYPOINT ["/opt/kit/entrypoint.sh"]
CMD ["gunicorn", "--config", "/opt/kit/gunicorn.conf.py"]
# Last: each commit changes them, and what follows a changed line is made anew.
ARG APP_VERSION=unversioned
ARG APP_REVISION=unversioned
ENV APP_VERSION=$APP_VERSION APP_REVISION=$APP_REVISION
# postdo.image: what IMAGE= is recognized by (lib/image.sh). postdo.parts: what it has packages for (lib/parts.sh).
ARG COMPOSE_PROFILES=""
LABEL postdo.image=production \
      postdo.parts=$COMPOSE_PROFILES \
      org.opencontainers.image.title="Django site" \
      org.opencontainers.image.version=$APP_VERSION \
      org.opencontainers.image.revision=$APP_REVISION
