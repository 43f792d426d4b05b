"""One PostgreSQL cluster of a developer: started, adopted, repaired and stopped."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from . import binaries as binaries_module
from . import ports, privileges, processes, sql
from .application import OWNER, Application
from .binaries import WHEEL_LACKS, Source
from .errors import EmbeddedPostgresError
from .layout import REACHABLE_FOLDER, Layout
from .locks import POLL_SECONDS, exclusive, try_hold
from .privileges import Identity, RunAs
from .processes import Postmaster
from .server import START_SECONDS, Server

LOCK_SECONDS = 300.0  # another start may be making the cluster, on a slow disk
# Processes whose postmaster was killed end by themselves within a second, unless in a long query.
ORPHAN_SECONDS = 5.0


@dataclass(frozen=True)
class Status:
    """The state of the cluster: absent, stopped or running. The other fields are None if unknown.

    `notes` are sentences for the user: what was repaired or changed, and what the binaries lack.
    """

    state: str
    home: Path
    log: Path
    data: Path | None = None
    port: int | None = None
    pid: int | None = None
    user: str | None = None
    database: str | None = None
    version: str | None = None
    source: str | None = None
    programs: Path | None = None
    socket_folder: Path | None = None
    run_as: str | None = None
    notes: tuple[str, ...] = ()


class Cluster:
    """The cluster in the folder `home`.

    `source` and `run_as` force the programs and the identity (for tests); `durable` False trades
    safety on a power failure for speed. Every method may be called from several processes at once.
    """

    def __init__(
        self,
        home: Path,
        *,
        source: Source = "auto",
        run_as: RunAs = "auto",
        durable: bool = True,
    ) -> None:
        # Links are resolved once: the server reports its folder without them.
        self.layout = Layout(home.absolute().resolve())
        self.source: Source = source
        self.run_as: RunAs = run_as
        self.durable = durable

    def start(self, port: int, application: Application) -> Status:
        """Run a server on 127.0.0.1:`port` with that user and database; create what is missing.

        A server of this folder that runs already is used. Raises Misconfigured before anything is
        touched, otherwise EmbeddedPostgresError, after which no half-started server is left.
        """
        ports.require_valid(port)
        application.require_valid()
        self.layout.make_home()
        with exclusive(self.layout.lock, LOCK_SECONDS):
            server = self._server()
            running = self._settle(server.identity)
            if running is not None and running.port != port:
                self._require_idle(server, running)
                self._halt(server)
                running = None
            if running is None:
                ports.require_free(port)
                server = self._launch(server, port)
            notes = self._provision(server, port, application)
            self.layout.remember(application)
        return self.status(notes)

    def stop(self) -> bool:
        """Stop the server and wait for its end; False if none was running.

        Raises EmbeddedPostgresError if it cannot be stopped.
        """
        if not self.layout.home.exists():
            return False
        with exclusive(self.layout.lock, LOCK_SECONDS):
            if self._settle(privileges.choose(self.layout.data, self.run_as)) is None:
                self.layout.remove_socket_folder()
                return False
            self._halt(self._server())
            return True

    def status(self, notes: Sequence[str] = ()) -> Status:
        """The present state; changes nothing. `notes` come before the binaries' own."""
        layout = self.layout
        if not layout.data.exists():
            return Status("absent", layout.home, layout.log, notes=tuple(notes))
        server = self._server()
        application = layout.application()
        running = processes.read_pid_file(layout.data)
        if running and not processes.is_ours(running.pid, layout.data, server.identity):
            running = None
        return Status(
            state="running" if running else "stopped",
            home=layout.home,
            log=layout.log,
            data=layout.data.resolve(),
            port=running.port if running else None,
            pid=running.pid if running else None,
            user=application.user if application else None,
            database=application.database if application else None,
            version=server.binaries.version,
            source=server.binaries.source,
            programs=server.binaries.folder,
            socket_folder=layout.socket_folder() if running else None,
            run_as=server.identity.kind,
            notes=(*notes, *([WHEEL_LACKS] if server.binaries.source == "wheel" else [])),
        )

    def remove(self) -> None:
        """Stop the server and delete the cluster with all its data."""
        self.stop()
        elsewhere = self.layout.server.resolve()
        shutil.rmtree(self.layout.home, ignore_errors=True)
        if elsewhere.parent == REACHABLE_FOLDER:
            shutil.rmtree(elsewhere, ignore_errors=True)

    def connection(self, database: str | None = None) -> sql.Connection:
        """How the site's role connects, to `database` or its own. Raises if no server runs."""
        data, application = self.layout.data, self.layout.application()
        running = processes.read_pid_file(data)
        identity = privileges.choose(data, self.run_as)
        if not application or not running or not processes.is_ours(running.pid, data, identity):
            raise EmbeddedPostgresError(
                f"No server is running for {self.layout.home}", "Start it: sh run.sh -2"
            )
        return sql.Connection(
            running.port, application.user, application.password, database or application.database
        )

    def url(self, database: str | None = None) -> str:
        """DATABASE_URL for the site's role, with the password in it."""
        to = self.connection(database)
        user, password, name = (
            quote(part, safe="") for part in (to.user, to.password, to.database)
        )
        return f"postgres://{user}:{password}@{ports.LOOPBACK}:{to.port}/{name}"

    def psql(self) -> str:
        """The path of the psql that fits the server."""
        return self._server().binaries.program("psql")

    @contextmanager
    def fresh_database(self, name: str) -> Iterator[str]:
        """Create a database, hand out its URL, drop it even if sessions are still open."""
        self.query(sql.CREATE_DATABASE, {"database": name})
        try:
            yield self.url(name)
        finally:
            self.query(sql.DROP_DATABASE, {"database": name})

    def query(self, script: str, variables: Mapping[str, str]) -> str:
        """Run a psql script as the site's role, in the database `postgres`. Returns its output."""
        return sql.query(self._server().binaries, self.connection("postgres"), script, variables)

    def _server(self) -> Server:
        layout = self.layout
        identity = privileges.choose(layout.data, self.run_as)
        programs = binaries_module.choose(self.source, binaries_module.data_major(layout.data))
        return Server(layout, programs, identity)

    def _settle(self, identity: Identity) -> Postmaster | None:
        """Wait until the cluster is in one of two states: a server that accepts, or no process.

        A start of a killed caller is waited for; what a killed postmaster left is ended.
        """
        layout = self.layout
        began = time.monotonic()
        while True:
            held = try_hold(layout.alive)
            if held is not None:
                os.close(held)
                self._remove_misleading_pid_file()
                return None
            waited = time.monotonic() - began
            running = processes.read_pid_file(layout.data)
            if running and processes.is_ours(running.pid, layout.data, identity):
                if running.ready:
                    return running
            elif waited > ORPHAN_SECONDS:
                self._kill_members(identity)
            if waited > START_SECONDS:
                raise EmbeddedPostgresError(
                    f"Processes of an earlier server of {layout.data} do not end",
                    f"Find them, and end them: fuser {layout.alive}",
                )
            time.sleep(POLL_SECONDS)

    def _remove_misleading_pid_file(self) -> None:
        """Remove a stale postmaster.pid whose pid is in use again, or is a zombie's.

        PostgreSQL would take that for a living server. Any other it cleans up better than we can,
        with its shared memory. Only called when nothing of the server is alive.
        """
        stale = processes.read_pid_file(self.layout.data)
        if stale and processes.exists(stale.pid):
            (self.layout.data / "postmaster.pid").unlink(missing_ok=True)

    def _require_idle(self, server: Server, running: Postmaster) -> None:
        """Raise if somebody is connected: the server cannot be moved to another port then."""
        owner = self._owner(running.port)
        clients = int(sql.query(server.binaries, owner, sql.OTHER_CLIENTS))
        if clients:
            raise EmbeddedPostgresError(
                f"The server already runs on port {running.port}, with {clients} client(s)",
                f"Stop the other `sh run.sh -2`, or set DEV_DB_PORT in .env back to {running.port}",
            )

    def _launch(self, server: Server, port: int) -> Server:
        """Make the cluster if there is none, and start its server."""
        layout = self.layout
        layout.make_server_folder(server.identity)
        server = self._reachable(server)
        alive = try_hold(layout.alive)
        if alive is None:
            raise EmbeddedPostgresError(
                f"Another process holds {layout.alive}",
                f"Find it, and end it: fuser {layout.alive}",
            )
        try:
            if not layout.data.exists():
                server.create(layout.new_owner_password(), alive, durable=self.durable)
            socket_folder = layout.make_socket_folder(server.identity, port)
            server.launch(port, socket_folder, alive, durable=self.durable)
        except BaseException:
            # Interrupted, or too slow: a server that may still come up must not stay behind.
            os.close(alive)
            self._halt(server)
            raise
        os.close(alive)
        return server

    def _reachable(self, server: Server) -> Server:
        """The same server, with programs that its identity can run (a wheel may be below /root)."""
        if server.identity.reaches(server.binaries.folder):
            return server
        folder = server.layout.server.resolve()
        programs = binaries_module.copy_wheel(server.binaries, folder)
        return Server(server.layout, programs, server.identity)

    def _halt(self, server: Server) -> None:
        """Stop whatever is alive of the server and wait until its last process is gone."""
        layout = self.layout
        deadline = time.monotonic() + ORPHAN_SECONDS
        asked = False
        while (held := try_hold(layout.alive)) is None:
            running = processes.read_pid_file(layout.data)
            # pg_ctl signals whatever has the pid in that file: it must be the cluster's.
            ours = running and processes.is_ours(running.pid, layout.data, server.identity)
            if ours and not asked:
                asked = True
                self._reachable(server).stop()
                deadline = time.monotonic() + ORPHAN_SECONDS
            if time.monotonic() > deadline:
                self._kill_members(server.identity)
            if time.monotonic() > deadline + ORPHAN_SECONDS:
                raise EmbeddedPostgresError(
                    f"The server of {layout.data} does not stop",
                    f"Find its processes, and end them: fuser {layout.alive}",
                )
            time.sleep(POLL_SECONDS)
        os.close(held)
        layout.remove_socket_folder()

    def _kill_members(self, identity: Identity) -> None:
        for pid in processes.members(self.layout.data, identity):
            processes.kill(pid, self.layout.data, identity)

    def _provision(self, server: Server, port: int, application: Application) -> list[str]:
        """Have the role, its password and the database; sentences about what was changed."""
        site = sql.Connection(port, application.user, application.password, application.database)
        names = {
            "user": application.user,
            "database": application.database,
            "extensions": application.extensions,
            "superuser": str(application.superuser),
        }
        # Only a superuser may ask for the data folder, by which a server is known.
        owner = self._owner(port)
        self._require_own(server, owner)
        with suppress(EmbeddedPostgresError):
            if sql.query(server.binaries, site, sql.IS_PROVISIONED, names) == "t":
                return []
        existed = sql.query(server.binaries, owner, sql.ROLE_EXISTS, names) == "t"
        secrets = {"APPLICATION_PASSWORD": application.password}
        sql.query(server.binaries, owner, sql.PROVISION, names, secrets)
        for database in (application.database, "template1"):
            there = replace(owner, database=database)
            sql.query(server.binaries, there, sql.EXTENSIONS, names)
        sql.query(server.binaries, site, sql.IS_PROVISIONED, names)  # it gets in
        before = self.layout.application()
        if existed and before and before.password != application.password:
            return [f"The password of {application.user} was set to the one in .env"]
        return []

    def _require_own(self, server: Server, connection: sql.Connection) -> None:
        """Raise unless this connection works and the server that answers is this cluster's."""
        answer = sql.query(server.binaries, connection, sql.DATA_FOLDER)
        if Path(answer) != self.layout.data.resolve():
            raise EmbeddedPostgresError(
                f"Another PostgreSQL answers on port {connection.port}: it serves {answer}",
                "Stop it, or set DEV_DB_PORT in .env to a free port",
            )

    def _owner(self, port: int) -> sql.Connection:
        return sql.Connection(port, OWNER, self.layout.owner_password(), "postgres")
