"""What all values are made of."""

from __future__ import annotations

from typing import Literal

import msgspec

Channel = Literal["voice", "chat", "email", "web", "messaging", "social", "mobile"]
Basis = Literal["prior", "fitted", "calibrated"]
"""Where a probability comes from: a named prior, fitted to data, or fitted and shown to be calibrated by a benchmark."""


class Value(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of the values below."""
