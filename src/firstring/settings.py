"""Every setting, documented where it is defined.

A setting comes from the environment (FIRSTRING_<NAME>), else from a TOML file (FIRSTRING_CONFIG, else
<home>/firstring.toml if there is one), else it has its default. `described` lists them for documentation and tests.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from msgspec import Meta

from firstring import limits
from firstring.errors import BadInput

PREFIX: Final = "FIRSTRING_"
CONFIG: Final = "FIRSTRING_CONFIG"
_HIDDEN: Final = "***"
_HOST_PORT: Final = r"^$|^(\[[0-9a-fA-F:.]+\]|[^\s:/@]+):[0-9]{1,5}$"
_SIP_URI: Final = r"^$|^(sip|sips|tel):\S+$"


def _setting(text: str, *, unit: str = "", secret: bool = False, env_only: bool = False, **bounds: Any) -> Meta:
    return Meta(description=text, extra={"unit": unit, "secret": secret, "env_only": env_only}, **bounds)


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings. Secrets are not shown by repr."""

    # --- where ---
    home: Annotated[Path, _setting("Directory for the embedded database, the master key and the settings file.")]
    tenant: Annotated[
        str, _setting("Tenant that a command or a sign-in means when none is named.", pattern="^[a-z0-9][a-z0-9-]{0,62}$")
    ] = "main"
    country: Annotated[
        str, _setting("Region (ISO 3166-1 alpha-2) of phone numbers written without a country code.", pattern="^[A-Z]{2}$")
    ] = "US"

    # --- database and keys ---
    database_url: Annotated[
        str,
        _setting(
            "PostgreSQL server of one's own: postgresql://role:password@host/database. Empty: the embedded server.",
            secret=True,
            pattern="^$|^postgres(ql)?://",
        ),
    ] = ""
    database_owner_url: Annotated[
        str,
        _setting(
            "The same server as the role that owns the schema, for `firstring db upgrade`. Empty: database_url.",
            secret=True,
            pattern="^$|^postgres(ql)?://",
        ),
    ] = ""
    database_connections: Annotated[int, _setting("Connections of a server process.", unit="connections", ge=2, le=100)] = 8
    master_key: Annotated[
        str, _setting("The master key, 64 hex digits; wins over master_key_file.", secret=True, env_only=True)
    ] = ""
    master_key_file: Annotated[
        Path | None, _setting("File of the master key, mode 0600. Not set: master.key in the home directory.")
    ] = None

    # --- serving ---
    listen_host: Annotated[str, _setting("Address that the HTTP server listens on.", min_length=1)] = "127.0.0.1"
    listen_port: Annotated[int, _setting("Port of the HTTP server; 0 lets the system choose.", ge=0, le=65535)] = 8470
    public_url: Annotated[
        str,
        _setting(
            "Address under which browsers reach the desk; https makes cookies secure. Empty: the listening address.",
            pattern=r"^$|^https?://[^\s]+$",
        ),
    ] = ""
    session_hours: Annotated[float, _setting("How long a sign-in at the desk lasts.", unit="h", gt=0, le=168)] = 12.0
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _setting("Least severe message that is logged.")] = (
        "info"
    )

    # --- events ---
    events_per_client_s: Annotated[
        float, _setting("Events that one client may send with a public write key.", unit="events/s", gt=0, le=100_000)
    ] = 100.0
    events_per_key_s: Annotated[
        float, _setting("Events that may come with one token.", unit="events/s", gt=0, le=1_000_000)
    ] = 20_000.0
    event_proxies: Annotated[
        tuple[str, ...],
        _setting("Addresses of proxies before the server: the client of their requests is the last of X-Forwarded-For."),
    ] = ()

    # --- outbound ---
    outbound_webhook_url: Annotated[
        str,
        _setting(
            "Where actions are posted that leave by SMS, push or webhook. Empty: nowhere.", pattern=r"^$|^https?://\S+$"
        ),
    ] = ""
    outbound_private_hosts: Annotated[
        tuple[str, ...],
        _setting("Hosts in private networks to which webhooks may be posted (comma-separated in the environment)."),
    ] = ()
    outbound_smtp: Annotated[
        str, _setting("Mail submission server (host:port) by which actions leave. Empty: none.", pattern=_HOST_PORT)
    ] = ""
    outbound_smtp_security: Annotated[
        Literal["starttls", "tls", "none"],
        _setting("How the connection to it is made safe; with none, no password is sent."),
    ] = "starttls"
    outbound_smtp_user: Annotated[str, _setting("Log-in at the mail server. Empty: none.")] = ""
    outbound_smtp_password: Annotated[str, _setting("Password at the mail server.", secret=True)] = ""
    outbound_smtp_roots_file: Annotated[
        Path | None, _setting("Certificates trusted for the mail server (PEM). Not set: those of the system.")
    ] = None
    outbound_from: Annotated[str, _setting("Sender of mails, such as Shop <news@shop.example>.")] = ""

    # --- deciding ---
    identify_threshold: Annotated[
        float,
        _setting("Probability from which a candidate is shown as the person rather than as a possibility.", ge=0.5, le=1.0),
    ] = 0.9
    decision_budget_ms: Annotated[
        int,
        _setting(
            "Time for one decision; when it is over, the contact goes to the default queue.",
            unit="ms",
            ge=50,
            le=limits.DECIDE_DEADLINE_MS,
        ),
    ] = limits.DECIDE_DEADLINE_MS
    ring_timeout_ms: Annotated[
        int,
        _setting(
            "How long a contact rings at an agent before the next one is asked.",
            unit="ms",
            ge=1_000,
            le=1_000 * limits.RING_EXPIRES_S,
        ),
    ] = 20_000
    wrap_up_s: Annotated[
        float, _setting("Time an agent has for notes after a contact, unless finished earlier.", unit="s", ge=0, le=3_600)
    ] = 30.0

    # --- voice ---
    kamailio_evapi: Annotated[
        str, _setting("Address of Kamailio's evapi (host:port). Empty: no Kamailio.", pattern=_HOST_PORT)
    ] = ""
    redirect_listen: Annotated[
        str,
        _setting("Address of the built-in SIP redirect server (host:port, UDP). Empty: off.", pattern=_HOST_PORT),
    ] = ""
    default_queue_uri: Annotated[
        str, _setting("SIP address of the switch's own queue, where calls go that cannot be decided.", pattern=_SIP_URI)
    ] = ""
    hold_uri: Annotated[
        str,
        _setting("SIP address where a call waits until an agent is free. Empty: default_queue_uri.", pattern=_SIP_URI),
    ] = ""
    stir_roots_file: Annotated[
        Path | None, _setting("PEM file of the certification authorities trusted for STIR/SHAKEN. Not set: nobody is.")
    ] = None
    stir_https_roots_file: Annotated[
        Path | None,
        _setting("PEM file of further authorities trusted for the HTTPS servers that publish certificates."),
    ] = None
    stir_private_hosts: Annotated[
        tuple[str, ...],
        _setting("Hosts in private networks from which certificates may be fetched (comma-separated in the environment)."),
    ] = ()

    # --- import ---
    import_batch: Annotated[int, _setting("Records applied in one transaction.", unit="records", ge=1, le=20_000)] = (
        limits.IMPORT_BATCH_RECORDS
    )

    # --- hygiene ---
    hygiene_persons_per_s: Annotated[
        int,
        _setting(
            "Persons that a server looks after in a second, in the background; 0: none.", unit="persons/s", ge=0, le=500
        ),
    ] = 25

    # --- retention ---
    journey_kept_days: Annotated[
        int,
        _setting(
            "How long decisions about actions are kept, and what patterns came true; events themselves stay.",
            unit="days",
            ge=180,
            le=36_500,
        ),
    ] = 400

    @property
    def key_file(self) -> Path:
        """Where the master key is kept."""
        return self.master_key_file or self.home / "master.key"

    @property
    def is_embedded(self) -> bool:
        """Whether the database is the embedded server."""
        return not self.database_url

    def database_role(self) -> str:
        """The role in database_url. Raises BadInput setting_invalid where it names none."""
        parts = urlsplit(self.database_url)
        role = unquote(parts.username or "") or (parse_qs(parts.query).get("user") or [""])[0]
        if not role:
            raise BadInput(
                "setting_invalid",
                "The database URL names no role.",
                where={"setting": "FIRSTRING_DATABASE_URL"},
                hint="Write postgresql://role@host/database.",
            )
        return role

    def __repr__(self) -> str:
        shown = (
            f"{setting.name}={_HIDDEN if setting.secret and value else repr(value)}"
            for setting in described()
            if (value := getattr(self, setting.name)) != setting.default
        )
        return f"Settings({', '.join(shown)})"

    __str__ = __repr__


class Setting(NamedTuple):
    """A setting as documentation shows it. `default` of home depends on the user (see `default_home`)."""

    name: str
    environment: str
    default: Any
    unit: str
    text: str
    secret: bool
    env_only: bool


def described() -> tuple[Setting, ...]:
    """Every setting, in the order of their definition."""
    hints = get_type_hints(Settings, include_extras=True)
    found = []
    for field in msgspec.structs.fields(Settings):
        meta = next(part for part in get_args(hints[field.name]) if isinstance(part, Meta))
        extra = meta.extra or {}
        default = None if field.default is msgspec.NODEFAULT else field.default
        found.append(
            Setting(
                field.name,
                PREFIX + field.name.upper(),
                default,
                extra["unit"],
                meta.description or "",
                extra["secret"],
                extra["env_only"],
            )
        )
    return tuple(found)


def default_home(environment: Mapping[str, str], *, is_root: bool) -> Path:
    """/var/lib/firstring for root, else firstring in the user's data directory (XDG Base Directory Specification)."""
    if is_root:
        return Path("/var/lib/firstring")
    data = environment.get("XDG_DATA_HOME", "")
    base = Path(data) if os.path.isabs(data) else Path(environment.get("HOME") or Path.home()) / ".local" / "share"
    return base / "firstring"


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process. Raises BadInput settings_unreadable, setting_unknown or setting_invalid."""
    environment = os.environ if environment is None else environment
    known = {setting.name: setting for setting in described()}
    of_environment: dict[str, Any] = {}
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or variable == CONFIG:
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in known or variable != known[name].environment:
            raise _unknown(variable, [CONFIG, *(setting.environment for setting in known.values())], {"variable": variable})
        of_environment[name] = _convert(name, environment[variable], {"variable": variable}, strict=False)
    home = of_environment.get("home") or default_home(environment, is_root=os.geteuid() == 0)
    named = environment.get(CONFIG, "")
    path = Path(named) if named else home / "firstring.toml"
    of_file = _read(path, known, required=bool(named))
    return Settings(**{"home": home, **of_file, **of_environment})


def _read(path: Path, known: Mapping[str, Setting], *, required: bool) -> dict[str, Any]:
    where = {"file": str(path)}
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except FileNotFoundError:
        if not required:
            return {}
        raise BadInput(
            "settings_unreadable", "The settings file does not exist.", where=where, hint=f"Correct {CONFIG}."
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = str(error) if isinstance(error, tomllib.TOMLDecodeError) else type(error).__name__
        raise BadInput("settings_unreadable", f"The settings file cannot be read: {reason}.", where=where) from error
    for name in values:
        if name not in known:
            raise _unknown(
                name, [setting.name for setting in known.values() if not setting.env_only], {**where, "key": name}
            )
        if known[name].env_only:
            raise BadInput(
                "setting_invalid",
                f"{name} must not stand in a file.",
                where={**where, "key": name},
                hint=f"Set {known[name].environment} in the environment.",
            )
    return {name: _convert(name, value, {**where, "key": name}, strict=True) for name, value in values.items()}


def _convert(name: str, value: Any, where: dict[str, Any], *, strict: bool) -> Any:
    kind = get_type_hints(Settings, include_extras=True)[name]
    plain = get_args(kind)[0]
    if not strict and get_origin(plain) is tuple:
        value = [part for part in re.split(r"[,\s]+", value) if part]
    if not strict and value == "" and type(None) in get_args(plain):
        return None
    try:
        return msgspec.convert(value, kind, strict=strict, dec_hook=_path)
    except msgspec.ValidationError as error:
        setting = next(setting for setting in described() if setting.name == name)
        reason = "it has the wrong form" if setting.secret else str(error)
        raise BadInput("setting_invalid", f"{name} is not valid: {reason}.", where=where, hint=setting.text) from None


def _path(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str) and value and "\0" not in value:
        return Path(value).expanduser().absolute()
    raise msgspec.ValidationError(f"Expected a path, got {type(value).__name__ if value else 'nothing'}")


def _unknown(name: str, known: list[str], where: dict[str, Any]) -> BadInput:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]}?" if near else "See docs/operating.md for all settings."
    return BadInput("setting_unknown", f"There is no setting {name}.", where=where, hint=hint)
