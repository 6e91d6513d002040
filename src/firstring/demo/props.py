"""What a scene plays with: the stage, the carrier that signs its calls, numbers that nobody has."""

from __future__ import annotations

import secrets
from typing import Final, NamedTuple

from firstring.demo.carrier import Carrier
from firstring.demo.stage import Stage
from firstring.demo.voice import SERVICE_NUMBER, Call
from firstring.ports import Clock

_ELSEWHERE: Final = ("305", "401", "406", "505", "515", "602", "605", "701", "702", "801", "802", "808", "901", "907")


def stranger() -> str:
    """A number for fiction (555-01xx) in an area where no sample customer lives."""
    return f"+1{secrets.choice(_ELSEWHERE)}55501{secrets.randbelow(100):02d}"


class Props(NamedTuple):
    """What a scene plays with."""

    stage: Stage
    carrier: Carrier
    clock: Clock

    def visit(self, number: str, *, hold_ms: int) -> Call:
        """A call from one of VISITS."""
        return self.signed(number or stranger(), hold_ms=hold_ms)

    def signed(self, number: str, *, by: str = "", hold_ms: int = 300) -> Call:
        """A call whose carrier vouches for `by` (the number that is shown, unless another is named)."""
        return Call(number, self.carrier.identity(by or number, SERVICE_NUMBER, self.clock.now()), hold_ms)
