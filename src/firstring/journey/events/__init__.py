"""Events of customers: the canonical form, and how each format that is spoken on the wire becomes it.

`formats` names them; each is a module of pure functions from what a client sends to events in Segment's form, which
`parse_event` reads.
"""

from firstring.journey.events.canonical import Event, EventType, Standing, parse_event

__all__ = ["Event", "EventType", "Standing", "parse_event"]
