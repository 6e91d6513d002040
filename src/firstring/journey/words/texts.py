"""Which events hold words of a customer, or of an agent about one, and where."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from firstring.journey.events import Event
from firstring.journey.names import WORDS_READ
from firstring.journey.words.reading import Words, read_words
from firstring.journey.words.textmodel import UNKNOWN, TextModel
from firstring.journey.words.tokens import TEXT_CHARS

_SPOKEN: Final = (
    "message_body", "body", "text", "comment", "comments", "note", "notes", "review_body", "said", "transcript",
)  # fmt: skip
"""Properties that hold words, whatever the event."""
_SPOKEN_HERE: Final = ("message", "description", "reason", "content")
"""Properties that hold words in events of these beginnings; elsewhere they are a system's."""
_HERE: Final = ("Live Chat ", "Chat ", "Email ", "Message ", "Complaint ", "Refund ", "Review ", "Product Reviewed", "Post ",
                "Survey ", "Call ", "Note ", "Ticket ")  # fmt: skip
_OURS: Final = frozenset(
    (WORDS_READ, "Live Chat Message Received", "Email Sent", "Email Opened", "Email Link Clicked", "Message Sent",
     "Chat Message Received", "Action Shown", "Action Accepted", "Action Dismissed", "Action Ignored", "Action Failed")
)  # fmt: skip
"""What was written to the customer, or by nobody. In the spec of live chats the user sends, and receives our answer."""
_ASKED: Final = frozenset((*_SPOKEN, *_SPOKEN_HERE, "subject"))
LETTERS_MIN: Final = 3
TOPIC_LEAST: Final = 0.5
"""From this probability on a label of one's own is the topic."""


def text_of(name: str, properties: Mapping[str, Any]) -> str | None:
    """The words in an event, or None. A subject goes before them."""
    if _ASKED.isdisjoint(properties) or name in _OURS:
        return None
    if str(properties.get("sender") or properties.get("author") or "").casefold() in ("agent", "bot", "system"):
        return None
    keys = (*_SPOKEN, *_SPOKEN_HERE) if name.startswith(_HERE) else _SPOKEN
    found = next((text for key in keys if isinstance(text := properties.get(key), str) and text.strip()), None)
    subject = properties.get("subject")
    if isinstance(subject, str) and subject.strip() and name.startswith(_HERE):
        found = subject[:TEXT_CHARS] if found is None else f"{subject[:TEXT_CHARS]}\n{found}"
    if found is None:
        return None
    found = found[: 2 * TEXT_CHARS]
    return found if sum(c.isalpha() for c in found[:200]) >= LETTERS_MIN else None


def words_of(event: Event, reasons: TextModel | None = None) -> Words | None:
    """What is read in an event's words; None where there are none, or nothing in them says anything.

    reasons: a model of one's own labels, which then name the topic, in whatever language it learned.
    """
    text = text_of(event.name, event.properties)
    if text is None:
        return None
    stated = event.properties.get("language")
    if not isinstance(stated, str):
        stated = None
    said = read_words(text, stated)
    if reasons is not None:
        found = reasons.read(text)
        label = max(found, key=lambda one: (found[one], one))
        if label != UNKNOWN and found[label] >= TOPIC_LEAST:
            said = said._replace(topic=label, topic_confidence=found[label])
    return said if said.says_something else None
