"""The settings that browser SDKs ask for before they send: where to send, and that nothing else is to be loaded."""

from __future__ import annotations

import re
from typing import Any

_HOST = re.compile(r"[A-Za-z0-9.\-:\[\]]{1,255}")


def own_url(public_url: str, host: str) -> str:
    """The address of this server as the browser knows it: the setting, else the one that it asked at."""
    if public_url:
        return public_url.rstrip("/")
    return f"http://{host if _HOST.fullmatch(host) else 'localhost'}"


def segment(key: str, url: str) -> dict[str, Any]:
    """Of GET /v1/projects/{key}/settings. The SDK sends to the host and with the key that stand here."""
    protocol, _, host = url.partition("://")
    return {
        "integrations": {
            "Segment.io": {
                "apiKey": key,
                "apiHost": f"{host}/v1",
                "protocol": protocol,
                "unbundledIntegrations": [],
                "addBundledMetadata": False,
                "maybeBundledConfigIds": {},
            }
        },
        "plan": {"track": {"__default": {"enabled": True, "integrations": {}}}, "identify": {}, "group": {}},
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0.0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }


def rudder(key: str, source_id: str) -> dict[str, Any]:
    """Of GET /sourceConfig/."""
    stamp = "2024-01-01T00:00:00.000Z"
    return {
        "source": {
            "id": source_id,
            "name": "firstring",
            "writeKey": key,
            "enabled": True,
            "config": {"statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}},
            "dataplanes": {},
            "destinations": [],
            "connections": [],
            "workspaceId": "firstring",
            "sourceDefinitionId": "javascript",
            "createdAt": stamp,
            "updatedAt": stamp,
            "deleted": False,
            "transient": False,
            "secretVersion": None,
            "sourceDefinition": {"name": "Javascript", "displayName": "Javascript"},
        },
        "updatedAt": stamp,
        "consentManagementMetadata": {"providers": []},
    }
