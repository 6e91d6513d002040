"""Requests of the demonstration to its own server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import httpx

from firstring.errors import Retryable

_AGAIN_S: Final = (0.2, 1.0, 3.0)
"""How long is waited after a 503, before the same request is sent again: a machine may be busy for a moment."""


async def ask(
    client: httpx.AsyncClient, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> bytes:
    """The answer's body. What is answered by 503 is sent again: all that is sent has an id, so it is the same one.

    Raises Retryable api_refused.
    """
    for wait_s in _AGAIN_S:
        response = await client.request(method, path, json=body, headers=headers)
        if response.status_code != 503:
            break
        await asyncio.sleep(wait_s)
    if response.status_code >= 400:
        raise Retryable("api_refused", f"{method} {path} answers {response.status_code}: {response.text[:200]}")
    return response.content
