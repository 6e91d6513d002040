"""A file that a setting names and that cannot be read is one clear error, not a trace."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from firstring.bootstrap import running
from firstring.errors import BadInput
from firstring.ports import SystemClock
from firstring.settings import Settings
from firstring.store.opening import initialise


@pytest.mark.parametrize("setting", ["stir_roots_file", "stir_https_roots_file"])
async def test_certificates_that_cannot_be_read(make_home: Callable[[], Path], tmp_path: Path, setting: str) -> None:
    settings = Settings(home=make_home(), master_key=secrets.token_hex(32), **{setting: tmp_path / "none.pem"})
    await initialise(settings, SystemClock())
    with pytest.raises(BadInput) as caught:
        async with running(settings):
            pass
    assert caught.value.code == "setting_file_unreadable"
    assert caught.value.where["setting"] == f"FIRSTRING_{setting.upper()}"
