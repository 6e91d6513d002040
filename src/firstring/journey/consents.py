"""What somebody has agreed to: for each purpose and channel, the latest word counts.

A consent is given or withdrawn for a purpose (marketing, analytics) on a channel (email, sms, voice, web); "*" is all of
them. Of two words at one moment the withdrawal counts; of a word about one channel and a later one about all channels,
the later. What nobody has said is unknown (None), never yes.

A withdrawal counts whoever sent it; a consent that anybody may have sent (a public write key) counts only where the visitor
says it of the page that they are on: for the channel web.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from firstring.contact import TouchRead
from firstring.journey.summary import plain

ALL: Final = "*"
MARKETING: Final = "marketing"
SIGNAL: Final = "Privacy Signal"
"""The name under which a browser's privacy signal (GPC, DNT) is told as a touch."""
GIVEN: Final = ("Consent Given", "Consent Granted", "Subscribed", "Email Subscribed", "SMS Subscribed")
WITHDRAWN: Final = (
    "Consent Withdrawn", "Consent Revoked", "Unsubscribed", "Email Unsubscribed", "Unsubscribe", "SMS Unsubscribed",
    "Email Marked as Spam", "Spam Reported",
)  # fmt: skip
PREFERENCES: Final = "Segment Consent Preference Updated"
NAMES: Final = frozenset((*GIVEN, *WITHDRAWN, PREFERENCES))
"""Names of events that say something of consent."""

_SIGNALS: Final = ("gpc", "globalPrivacyControl", "dnt", "doNotTrack")
_SIGNAL_PURPOSES: Final = (MARKETING, "personalisation", "sharing")
"""Judgement: what a browser that sends Global Privacy Control, or Do Not Track, does not want on the web."""
_CHANNEL_OF_NAME: Final = (("Email ", "email"), ("SMS ", "messaging"), ("Spam ", "email"))
_CHANNELS: Final = {
    "sms": "messaging", "text": "messaging", "whatsapp": "messaging", "push": "mobile", "phone": "voice", "call": "voice",
    "mail": "email", "e-mail": "email", "all": ALL, "any": ALL, "": ALL,
}  # fmt: skip
_YES: Final = frozenset(("yes", "true", "1", "y", "given", "granted", "opted_in", "opt_in", "subscribed", "on"))
_NO: Final = frozenset(("no", "false", "0", "n", "withdrawn", "denied", "opted_out", "opt_out", "unsubscribed", "off"))
_ATTRIBUTE: Final = "consent_"


class Consent(msgspec.Struct, frozen=True):
    """The latest word on a purpose and channel. event_id: that said it, 0 for a record's attribute. source: in a word."""

    purpose: str
    channel: str
    given: bool
    at: datetime
    event_id: int = 0
    source: str = ""


class Consents(msgspec.Struct, frozen=True):
    """All latest words, by purpose and channel."""

    words: tuple[Consent, ...] = ()

    def given(self, purpose: str, channel: str = ALL) -> bool | None:
        """Whether it is agreed to; None where nobody has said."""
        told = self.word(purpose, channel)
        return None if told is None else told.given

    def word(self, purpose: str, channel: str = ALL) -> Consent | None:
        """The word that counts for a purpose on a channel: the latest of those that include both."""
        purpose, channel = _purpose(purpose), _channel(channel)
        about = [one for one in self.words if one.purpose in (purpose, ALL) and one.channel in (channel, ALL)]
        return max(about, key=lambda one: (one.at, not one.given, one.event_id), default=None)


class Stated(NamedTuple):
    """What a record of an import says of consent: the attribute's name, its value, and when the record was last seen."""

    name: str
    value: Any
    at: datetime
    source: str


def consents_of(touches: Iterable[TouchRead], stated: Iterable[Stated] = ()) -> Consents:
    """The latest word on each purpose and channel: a function of the set of touches and of what records state."""
    latest: dict[tuple[str, str], Consent] = {}
    words = [word for touch in touches for word in _words(touch)]
    words += [word for one in stated if (word := _of_record(one)) is not None]
    for word in words:
        place = word.purpose, word.channel
        if place not in latest or _later(word, latest[place]):
            latest[place] = word
    return Consents(tuple(latest[place] for place in sorted(latest)))


def privacy_signal(context: Mapping[str, Any]) -> bool:
    """Whether the browser asks not to be tracked: Global Privacy Control, or Do Not Track."""
    return any(name in context and str(context[name]).casefold() in ("true", "1", "yes") for name in _SIGNALS)


def _later(word: Consent, other: Consent) -> bool:
    return (word.at, not word.given, word.event_id) > (other.at, not other.given, other.event_id)


def _words(touch: TouchRead) -> list[Consent]:
    name, said = touch.name, touch.properties
    if name == SIGNAL:
        return [
            Consent(purpose, "web", False, touch.occurred_at, touch.event_id, "privacy signal of the browser")
            for purpose in _SIGNAL_PURPOSES
        ]
    if name == PREFERENCES:
        return _preferences(touch)
    if name not in NAMES:
        return []
    given = name in GIVEN
    channel = _stated_channel(touch)
    if given and touch.claimed and channel != "web":
        return []
    purposes = said.get("purposes", said.get("purpose", said.get("category")))
    listed = purposes if isinstance(purposes, list) else [purposes]
    default = ALL if name in ("Consent Withdrawn", "Consent Revoked") else MARKETING
    named = [_purpose(plain(one) or default) for one in listed[:50]]
    return [Consent(purpose, channel, given, touch.occurred_at, touch.event_id, name) for purpose in named]


def _preferences(touch: TouchRead) -> list[Consent]:
    """Segment's consent object: {"consent": {"categoryPreferences": {"Advertising": false}}}, of the page one is on."""
    consent = touch.properties.get("consent")
    categories = consent.get("categoryPreferences") if isinstance(consent, dict) else None
    if not isinstance(categories, dict):
        return []
    return [
        Consent(_purpose(plain(name)), "web", value, touch.occurred_at, touch.event_id, touch.name)
        for name, value in list(categories.items())[:50]
        if isinstance(value, bool) and plain(name)
    ]


def _stated_channel(touch: TouchRead) -> str:
    stated = plain(touch.properties.get("channel"))
    if stated:
        return _channel(stated)
    for prefix, channel in _CHANNEL_OF_NAME:
        if touch.name.startswith(prefix):
            return channel
    if touch.name in ("Unsubscribed", "Unsubscribe", "Subscribed") and touch.channel == "email":
        return "email"
    return "web" if touch.claimed and touch.name in GIVEN else ALL


def _of_record(one: Stated) -> Consent | None:
    """An attribute consent_PURPOSE or consent_PURPOSE_CHANNEL of an imported record; what is no plain yes or no is none."""
    text = str(one.value).strip().casefold()
    if text not in _YES and text not in _NO:
        return None
    purpose, _, channel = one.name.removeprefix(_ATTRIBUTE).partition("_")
    if _channel(purpose) != purpose or purpose in ("email", "voice", "web", "messaging", "chat", "mobile"):
        purpose, channel = MARKETING, purpose
    return Consent(_purpose(purpose), _channel(channel), text in _YES, one.at, 0, one.source)


def is_stated(name: str) -> bool:
    """Whether an attribute of a record speaks of consent."""
    return name.startswith(_ATTRIBUTE)


def _purpose(text: str) -> str:
    return text.strip().casefold().replace(" ", "_") or ALL


def _channel(text: str) -> str:
    name = text.strip().casefold()
    return _CHANNELS.get(name, name)
