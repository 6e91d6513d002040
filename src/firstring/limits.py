"""Every bound, with its unit. What is not bounded here is a mistake.

Each constant is a hard limit: input beyond it is refused or cut with a reason, never silently.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

# --- evidence of one contact -------------------------------------------------------------------------------------
FIELD_CHARS: Final = 1_000
"""A single field of evidence or of an imported record, in characters."""
WORDS_CHARS: Final = 2_000
"""What is kept of what somebody says or writes in one contact, in characters: the end of what is longer."""
IDENTIFIERS_PER_CONTACT: Final = 16
"""Identifiers looked up for one contact."""
IDENTIFIERS_PER_RECORD: Final = 32
"""Identifiers kept for one source record."""
ATTRIBUTES_PER_RECORD: Final = 100
"""Free attributes kept with one source record."""
RECORD_BYTES: Final = 32_768
"""A source record or an event, serialised, in bytes (Segment's limit for an event)."""

# --- one read on the ring path -----------------------------------------------------------------------------------
HOT_KEY_RECORDS: Final = 100
"""An identifier with more records than this behind it is hot: it names nobody and glues nobody."""
HOT_LINK_RECORDS: Final = 50
"""A composite linking key with more records than this behind it is hot: it glues nobody."""
PERSONS_PER_IDENTIFIER: Final = {
    "phone": 8, "email": 6, "national_id": 1, "account": 6, "device": 8, "cookie": 8, "social": 4,
}  # fmt: skip
"""People who may share an identifier of a kind: a family's landline, inbox, account, tablet. One that more share points at
nobody and is listed by `firstring guards`. A national id is one person's."""
CANDIDATES: Final = 25
"""Persons scored for one contact; the most recently seen are kept."""
RECORDS_PER_CANDIDATE: Final = 8
"""Records read for one candidate; the most recently seen are kept."""
TOUCHES_PER_RECORD: Final = 5
"""Events read for one record, newest first."""
ISSUE_EVENTS_PER_PERSON: Final = 200
"""Events about open issues read for one person; beyond it the person counts as having an open issue."""
AGENTS_CONSIDERED: Final = 10_000
"""Agents that are ready and have a free place, considered for one contact."""
BUSY_CONSIDERED: Final = 1_000
"""Agents with contacts who are looked at beside those who are free: for whom a contact may be held."""
ALTERNATIVES_KEPT: Final = 10
"""Agents kept with a decision as alternatives, and tried in turn by its claim."""

# --- events ------------------------------------------------------------------------------------------------------
EVENT_AHEAD_S: Final = 3_600
"""How far an event may lie ahead of our clock before it is refused."""
EVENT_EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
"""An event before this is refused: such a time is a placeholder (1970-01-01, 0001-01-01)."""
REJECTED_DAYS: Final = 30
"""How long an event that was refused is kept, to be sent again once the cause is mended."""
REJECTED_KEPT: Final = 100_000
"""Events that were refused and are kept, of one tenant; beyond it the oldest are forgotten."""
REJECTED_BYTES: Final = 65_536
"""A refused event that is larger is kept by its reason alone."""
EVENTS_TOGETHER: Final = 5_000
"""Events of several calls that are stored in one transaction."""
EVENTS_WAITING: Final = 50_000
"""Events of one tenant that wait to be stored; beyond it callers are told to come again."""
TOUCHES_SHOWN: Final = 5
"""Touches of a journey that people see, newest first."""

# --- stitching ---------------------------------------------------------------------------------------------------
KNOWN_FOR_S: Final = 30 * 86_400
"""How long a visitor who signed in, and did not sign out, counts as that user."""
STITCH_REACH: Final = 1_000
"""Events of a visitor, each way, that a sign-in reaches: a late one costs no more than that."""
STITCH_LOOK_BACK: Final = 20
"""Marks of a visitor (sign-ins, claims, clicks) by which it is told who is there."""
VISITORS_LOCKED: Final = 500
"""Visitors that one transaction locks one by one; with more of them it waits for all others that stitch."""
TYPED_DAYS: Final = 14
"""How long a number or address that a visitor typed is kept."""
TYPED_PER_VISITOR: Final = 8
"""Numbers and addresses kept of one visitor, the newest."""
CLICK_DAYS: Final = 30
"""How long a link in a mail tells who opened it."""

# --- patterns ----------------------------------------------------------------------------------------------------
PATTERN_FILE_CHARS: Final = 200_000
"""One file of patterns, in characters."""
PATTERNS: Final = 1_000
"""Patterns of one tenant."""
PATTERN_WINDOW_MS: Final = 400 * 86_400_000
"""The longest window of a pattern."""
PATTERN_PLACES: Final = 120
"""How far a match can have come: events counted, and 2^n - 1 for n members of `all`."""
PATTERN_ALL: Final = 4
"""Members of an `all`."""
PATTERN_WAITS: Final = 8
"""Matches of one pattern that wait for the end of an absence at once; one more does not begin to wait."""
PATTERN_KEYS: Final = 16
"""Values of `same` for which a pattern is under way at once; one more pushes out what moved longest ago."""
VISIT_GAP_MS: Final = 30 * 60_000
"""A visit ends when nothing has happened for longer than this."""
PATTERN_LAG_MS: Final = 86_400_000
"""An event of somebody of whom nothing is under way may be so old; an older one is seen by a replay of the log."""
PATTERN_INLINE_EVENTS: Final = 200
"""A log of so many events is replayed at once where an event comes late; a longer one, soon after."""
PATTERN_REPLAY_EVENTS: Final = 2_000
"""Events replayed in one transaction, but for a person who has more."""
PATTERN_LOG_EVENTS: Final = 100_000
"""Of a person with more events the newest so many are replayed."""
PATTERN_ACTS_MS: Final = 60 * 60_000
"""A pattern that came true by an event longer ago than this is noted, and nothing is done about it."""
PATTERN_DUE_ACTS_MS: Final = 86_400_000
"""The same for one that came true by the passing of time: a server may have been down over night."""
HOUSEHOLD_PERSONS: Final = 16
"""People of a household; more who share identifiers are none."""

# --- timers ------------------------------------------------------------------------------------------------------
TIMER_NAME_CHARS: Final = 200
"""The kind and the key of a timer, in characters."""
TIMER_ATTEMPTS: Final = 30
"""A timer whose handler failed so often (over some four hours) is given up: it stays, and is tried no more."""

# --- delivery ----------------------------------------------------------------------------------------------------
DELIVERY_BYTES: Final = 16_384
"""What an action says to a customer, as JSON."""
DELIVERY_ATTEMPTS: Final = 8
"""Tries of an action that does not leave; then it is a dead letter."""
DELIVERY_DAYS: Final = 90
"""How long it is kept what was shown or sent."""
LINK_SCANNED_S: Final = 10.0
"""A link that is opened sooner after its mail left was opened by a program on the way, not by whom it was sent to."""
TREATMENTS_SHOWN: Final = 3
"""Actions that are put before an agent for one person at once."""
DELIVERIES_OFFERED: Final = 5
"""Actions that are offered to one page at once; it shows one at a time."""
DELIVERIES_SWEPT: Final = 1_000
"""Actions past their time that are closed in one transaction."""
CHANGES_READ: Final = 1_000
"""Changes in one answer of the feed."""
CHANGES_PLACED: Final = 10_000
"""Changes that get their position in one transaction."""
CHANGE_DAYS: Final = 30
"""How long changes are kept for those who read the feed."""
WEB_STREAMS: Final = 10_000
"""Pages that listen to one process; the next ones ask now and then instead."""
WEB_STREAMS_OF_VISITOR: Final = 8
"""Pages of one visitor that listen; one more ends the oldest."""

# --- actions -----------------------------------------------------------------------------------------------------
ACTIONS: Final = 500
"""Actions of one tenant."""
OFFERS_SHOWN: Final = 10
"""Offers of the catalogue in one action."""
OFFERS: Final = 50_000
"""Offers of one tenant's catalogue."""
ACTION_TOUCHES_PER_RECORD: Final = 40
"""Events read for one record where an action is chosen outside a contact."""
PROFILE_EVENTS: Final = 60
"""Newest events of a person that are opened for a profile, beside orders, consents and issues."""
PROFILE_FACETS: Final = 200
"""Orders and refunds, and words of consent, that are read of one person."""
ACTION_PATTERNS_DAYS: Final = 30
"""A pattern that fired for a person is known to actions for so long."""
ACTIONS_REMEMBERED: Final = 1_000
"""Actions that went out to a person, counted for caps."""

# --- segments ----------------------------------------------------------------------------------------------------
SEGMENTS: Final = 200
"""Segments of one tenant that are on."""
SEGMENT_TITLE_CHARS: Final = 200
SEGMENT_MEMBERS: Final = 1_000
"""Members of a segment in one answer."""

# --- expressions (CEL) -------------------------------------------------------------------------------------------
EXPRESSION_CHARS: Final = 2_000
"""One expression, in characters."""
EXPRESSION_DEPTH: Final = 40
"""How deep an expression may be nested; chains of && and of || are one level."""
EXPRESSION_RANGES: Final = 8
"""Macros (all, exists, exists_one, filter, map) in one expression."""
EXPRESSION_NESTED_RANGES: Final = 2
"""Macros inside one another: each multiplies the time that evaluation may take."""

# --- time --------------------------------------------------------------------------------------------------------
DECIDE_DEADLINE_MS: Final = 700
"""The server answers a contact by then, whatever fails; the adapters' own deadline is 800 ms."""
CERTIFICATE_WAIT_MS: Final = 150
"""How long a ringing call waits for a certificate that is not cached."""
OFFER_EXPIRES_S: Final = 30
"""An agent claimed for a contact that never began to ring is free again after this."""
RING_EXPIRES_S: Final = 120
"""A contact that rings at an agent and is neither answered nor refused is taken back after this."""
ANSWERED_EXPIRES_S: Final = 4 * 3600
"""A call whose end was never reported is closed after this."""
EXCLUDE_S: Final = 5.0
"""How long an agent who did not take a contact is left out for that contact."""
LEASE_S: Final = 3.0
"""The lease of the elected queue task; another process takes over within it."""
QUEUE_WAIT_MAX_MS: Final = 600_000
"""The longest a contact waits in the queue before it goes to the default queue of the switch."""

# --- identity ----------------------------------------------------------------------------------------------------
PERSON_CONTENTS: Final = 1_000
"""Different records that are joined to one person without anybody looking; a merge beyond it is held for review."""

# --- stewards ----------------------------------------------------------------------------------------------------
RECORDS_EXPLAINED: Final = 200
"""Records of one person by which it is explained what holds it together."""
NEIGHBOURS_EXPLAINED: Final = 20
"""Other persons near by that are shown beside one."""
CARRIERS_OPENED: Final = 60
"""Records opened to see what an identifier that many carry is, and who they are."""
REVIEW_SCAN_S: Final = 300
"""How long all keys of a tenant may be walked through, to find those of the most records."""
REVIEW_SEEDS: Final = 200
"""Records drawn at random, out of whose pairs the questions of a clerical review are drawn."""
REVIEW_POOL_RECORDS: Final = 5_000
"""Records read for that; what else meets the drawn ones is left out."""
REVIEW_QUESTIONS: Final = 40
"""Questions drawn at a time."""
REVIEW_TAKEN_S: Final = 900
"""How long a question is kept for the one who looks at it."""

# --- HTTP --------------------------------------------------------------------------------------------------------
BODY_BYTES: Final = 512_000
"""A request body (Segment's limit for a batch)."""
RECORDS_BODY_BYTES: Final = 4_000_000
"""The body of POST /v1/records: IMPORT_BATCH_RECORDS records of 2 kB, as households with addresses, e-mails and consents
have them. Read, it takes some 40 MB for as long as the request lasts."""
EVENTS_PER_BATCH: Final = 2_500
"""Events in one POST /v1/events (Segment's limit)."""
SSE_BACKLOG: Final = 100
"""Messages kept for one desk that reads slowly; beyond it the desk is told to load its state anew."""

# --- import ------------------------------------------------------------------------------------------------------
IMPORT_BATCH_RECORDS: Final = 2_000
"""Records applied in one transaction."""
REJECT_VALUE_CHARS: Final = 200
"""How much of a rejected value is shown in the file of rejected rows."""
NICENESS: Final = 19
"""Of what is done beside calls that ring, an import or training: they go first."""
