"""Bodies as SDKs send them: gzip whatever the headers say, JSON whatever the content type says, bounded."""

from __future__ import annotations

import zlib
from typing import Any, Final

import msgspec
from litestar.types import Receive

from firstring import limits
from firstring.errors import BadInput

_GZIP: Final = b"\x1f\x8b"
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_PLAIN: Final = ("", "identity")


async def read_body(receive: Receive, declared: str) -> bytes:
    """The body. Raises BadInput too_large (413) before more than limits.BODY_BYTES are held."""
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > limits.BODY_BYTES:
        raise too_large("body")
    parts: list[bytes] = []
    size = 0
    while True:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise BadInput("bad_request", "The request ended in the middle.", hint="Send it again.")
        part = message.get("body", b"")
        size += len(part)
        if size > limits.BODY_BYTES:
            raise too_large("body")
        parts.append(part)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def unpacked(body: bytes, encoding: str) -> bytes:
    """The body without its compression, at most limits.BODY_BYTES of it: a small body may unpack to gigabytes.

    gzip is known by its first bytes: SDKs label it otherwise, or not at all. Raises BadInput too_large (413),
    bad_compression, unsupported_encoding (415).
    """
    encoding = encoding.strip().lower()
    if not (body.startswith(_GZIP) or encoding == "deflate"):
        if encoding not in (*_PLAIN, "gzip", "x-gzip"):
            raise BadInput(
                "unsupported_encoding",
                "The body is compressed in a way that is not read.",
                where={"header": "Content-Encoding"},
                hint="Send it plain, or as gzip.",
                http_status=415,
            )
        return body
    reader = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        plain = reader.decompress(body, limits.BODY_BYTES + 1)
    except zlib.error as error:
        raise _bad_compression() from error
    if len(plain) > limits.BODY_BYTES:
        raise too_large("unpacked body")
    if not reader.eof:
        raise _bad_compression()
    return plain


def decoded(body: bytes) -> Any:
    """JSON. Raises BadInput bad_json."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput("bad_json", "The body is not JSON.", hint="Send JSON in UTF-8.") from error


def too_large(what: str) -> BadInput:
    return BadInput(
        "too_large",
        f"The {what} has more than {limits.BODY_BYTES} bytes.",
        hint="Send smaller batches.",
        http_status=413,
    )


def _bad_compression() -> BadInput:
    return BadInput("bad_compression", "The body is not whole gzip.", hint="Send it again, or plain.")
