"""Templates and static files. Everything is escaped; nothing is inline, so that the policy below can forbid it."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from typing import Any, Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType, Response

from firstring.desk.views import ago, channel_name, language_name, state_name

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cache-Control": "no-store",
}
_TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_YEAR_S: Final = 31_536_000


class StaticFile(NamedTuple):
    """One static file. `version` is out of its content, so that browsers may keep a versioned address for ever."""

    body: bytes
    zipped: bytes
    media_type: str
    version: str

    def response(self, *, zipped: bool) -> Response[bytes]:
        headers = {
            "Cache-Control": f"public, max-age={_YEAR_S}, immutable",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Vary": "Accept-Encoding",
        }
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return Response(self.zipped if zipped else self.body, media_type=self.media_type, headers=headers)


class Rendering:
    """Renders the desk's templates; holds the static files in memory (they are small and few)."""

    def __init__(self) -> None:
        self.static = _static_files()
        self._environment = Environment(
            loader=PackageLoader("firstring.desk"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["static"] = self.address
        self._environment.filters.update(
            channel=channel_name, language=language_name, epoch_ms=_epoch_ms, iso=datetime.isoformat
        )
        self._environment.globals.update(ago=ago, state_name=state_name)
        for name in self._environment.list_templates():
            self._environment.get_template(name)  # compiled now, not while a call rings

    def address(self, name: str) -> str:
        """The versioned address of a static file. Raises KeyError for one that is not there."""
        return f"/static/{name}?v={self.static[name].version}"

    def text(self, template: str, **values: Any) -> str:
        return self._environment.get_template(template).render(**values)

    def page(
        self, template: str, *, status_code: int = 200, headers: Mapping[str, str] | None = None, **values: Any
    ) -> Response[str]:
        """A whole page with the headers that every page has."""
        return Response(
            self.text(template, **values),
            media_type=MediaType.HTML,
            status_code=status_code,
            headers={**SECURITY_HEADERS, **(headers or {})},
        )


def _epoch_ms(when: datetime) -> int:
    return round(when.timestamp() * 1000.0)


def _static_files() -> dict[str, StaticFile]:
    found: dict[str, StaticFile] = {}
    for entry in files("firstring.desk").joinpath("static").iterdir():
        media_type = _TYPES.get("." + entry.name.rpartition(".")[2])
        if media_type is None:
            continue
        body = entry.read_bytes()
        version = hashlib.sha256(body).hexdigest()[:12]
        found[entry.name] = StaticFile(body, gzip.compress(body, 9, mtime=0), media_type, version)
    return found
