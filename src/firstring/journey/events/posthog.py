"""PostHog: names with a dollar sign are its own, everything else is a track event.

`distinct_id` is the user's id, or the visitor's where the event says that nobody is signed in. `$create_alias` makes
`alias` another name of `distinct_id`. `$groupidentify` is about a group and nobody in it: it is passed over.
Source: https://posthog.com/docs/api/capture
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from firstring.errors import BadInput
from firstring.journey.events.wire import Body, Format, an_object, key_in, malformed_batch, text, without_nothing

_IDENTIFY: Final = frozenset(("$identify", "$set"))
_ALIAS: Final = frozenset(("$create_alias", "$merge_dangerously"))
_PASSED_OVER: Final = frozenset(("$groupidentify", "$feature_flag_called", "$opt_in", "$web_vitals", "$performance_event"))
_NAMES: Final = {
    "$autocapture": "Element Clicked",
    "$rageclick": "Rage Clicked",
    "$pageleave": "Page Left",
    "$exception": "Error Shown",
}


def split(body: Any) -> Body:
    if isinstance(body, list):
        first = body[0] if body and isinstance(body[0], dict) else {}
        own = first.get("properties")
        return Body(body, {}, key_in(own, "token") if isinstance(own, dict) else key_in(first, "api_key", "token"))
    if not isinstance(body, dict):
        raise malformed_batch("an object")
    key = key_in(body, "api_key", "token")
    batch = body.get("batch")
    if batch is None:
        own = body.get("properties")
        return Body([body], {}, key or (key_in(own, "token") if isinstance(own, dict) else None))
    if not isinstance(batch, list):
        raise malformed_batch('an object with a list "batch"')
    return Body(batch, {"sentAt": body["sent_at"]} if body.get("sent_at") else {}, key)


def event(item: Any, common: Mapping[str, Any]) -> dict[str, Any] | None:
    given = an_object(item)
    properties = given.get("properties") or {}
    if not isinstance(properties, dict):
        raise BadInput("malformed_event", "properties is not an object.", where={"field": "properties"}, hint="Send one.")
    name = given.get("event")
    known = name if isinstance(name, str) else None
    if known in _PASSED_OVER:
        return None
    distinct = given.get("distinct_id") or properties.get("distinct_id")
    made: dict[str, Any] = {
        "messageId": given.get("uuid") or properties.get("$insert_id"),
        "timestamp": given.get("timestamp"),
        "sentAt": given.get("sent_at") or common.get("sentAt"),
        "context": _context(properties),
        "traits": _traits(given, properties),
    }
    if _is_visitor(distinct, properties):
        made["anonymousId"] = distinct
    else:
        made["userId"] = distinct
        made["anonymousId"] = properties.get("$anon_distinct_id") or properties.get("$device_id")
    return without_nothing(made | (_kind(known, properties) if known is not None else {"type": "track", "event": name}))


def _kind(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    own = {
        key: value for key, value in properties.items() if not key.startswith("$") and key not in ("distinct_id", "token")
    }
    if name in _IDENTIFY:
        return {"type": "identify"}
    if name in _ALIAS:
        return {"type": "alias", "previousId": properties.get("alias")}
    if name == "$screen":
        return {"type": "screen", "name": text(properties.get("$screen_name")), "properties": own}
    if name == "$pageview":
        page = _page(properties)
        return {"type": "page", "properties": {**page, **own}}
    return {"type": "track", "event": _NAMES.get(name, name), "properties": own}


def _is_visitor(distinct: Any, properties: dict[str, Any]) -> bool:
    if properties.get("$process_person_profile") is False or properties.get("$is_identified") is False:
        return True
    return distinct is not None and distinct == properties.get("$device_id")


def _traits(given: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any] | None:
    traits: dict[str, Any] = {}
    for holder in (properties.get("$set_once"), given.get("$set_once"), properties.get("$set"), given.get("$set")):
        if isinstance(holder, dict):
            traits.update(holder)
    return traits or None


def _page(properties: dict[str, Any]) -> dict[str, Any]:
    known = {
        "url": properties.get("$current_url"),
        "path": properties.get("$pathname"),
        "referrer": properties.get("$referrer"),
        "title": properties.get("title"),
    }
    return without_nothing(known)


def _context(properties: dict[str, Any]) -> dict[str, Any]:
    library = without_nothing({"name": properties.get("$lib"), "version": properties.get("$lib_version")})
    return without_nothing(
        {
            "ip": properties.get("$ip"),
            "page": _page(properties),
            "timezone": properties.get("$timezone"),
            "locale": properties.get("$browser_language"),
            "userAgent": properties.get("$raw_user_agent"),
            "sessionId": properties.get("$session_id"),
            "library": library,
        }
    )


FORMAT: Final = Format("posthog", split, event)
