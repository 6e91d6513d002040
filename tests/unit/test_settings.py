"""Settings: where they come from, which wins, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from firstring.errors import BadInput
from firstring.settings import Settings, default_home, described, load


def test_every_setting_is_documented() -> None:
    for setting in described():
        assert len(setting.text) > 15, setting.name
        assert setting.environment == "FIRSTRING_" + setting.name.upper()
        number = isinstance(setting.default, int | float) and setting.name != "listen_port"
        assert bool(setting.unit) or not number or setting.name == "identify_threshold", setting.name


def test_defaults(tmp_path: Path) -> None:
    settings = load({"FIRSTRING_HOME": str(tmp_path)})
    assert settings == Settings(home=tmp_path)
    assert (settings.listen_host, settings.listen_port, settings.tenant, settings.country) == (
        "127.0.0.1",
        8470,
        "main",
        "US",
    )
    assert (settings.identify_threshold, settings.wrap_up_s) == (0.9, 30.0)
    assert settings.is_embedded
    assert settings.key_file == tmp_path / "master.key"


def test_home(tmp_path: Path) -> None:
    assert default_home({}, is_root=True) == Path("/var/lib/firstring")
    assert default_home({"XDG_DATA_HOME": "/data", "HOME": "/h"}, is_root=False) == Path("/data/firstring")
    assert default_home({"XDG_DATA_HOME": "relative", "HOME": "/h"}, is_root=False) == Path("/h/.local/share/firstring")


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "firstring.toml").write_text(
        'listen_port = 1\ncountry = "DE"\nstir_private_hosts = ["a", "b"]\nwrap_up_s = 5\n'
    )
    settings = load({"FIRSTRING_HOME": str(tmp_path), "FIRSTRING_LISTEN_PORT": "2", "OTHER": "x"})
    assert (settings.listen_port, settings.country, settings.wrap_up_s) == (2, "DE", 5.0)
    assert settings.stir_private_hosts == ("a", "b")
    assert load({"FIRSTRING_HOME": str(tmp_path), "FIRSTRING_STIR_PRIVATE_HOSTS": "c, d"}).stir_private_hosts == ("c", "d")


def test_a_named_file(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    path.write_text(f'home = "{tmp_path / "elsewhere"}"\nmaster_key_file = "/k"\n')
    settings = load({"FIRSTRING_CONFIG": str(path)})
    assert (settings.home, settings.key_file) == (tmp_path / "elsewhere", Path("/k"))
    with pytest.raises(BadInput) as missing:
        load({"FIRSTRING_CONFIG": str(tmp_path / "none.toml")})
    assert (missing.value.code, missing.value.where) == ("settings_unreadable", {"file": str(tmp_path / "none.toml")})


@pytest.mark.parametrize(
    ("content", "code", "key"),
    [
        (b'listen_prt = 1\n', "setting_unknown", "listen_prt"),
        (b'listen_port = "1"\n', "setting_invalid", "listen_port"),
        (b'listen_port = 70000\n', "setting_invalid", "listen_port"),
        (b'wrap_up_s = -1\n', "setting_invalid", "wrap_up_s"),
        (b'identify_threshold = nan\n', "setting_invalid", "identify_threshold"),
        (b'country = "us"\n', "setting_invalid", "country"),
        (b'kamailio_evapi = "host"\n', "setting_invalid", "kamailio_evapi"),
        (b'home = 3\n', "setting_invalid", "home"),
        (b'master_key = "00"\n', "setting_invalid", "master_key"),
        (b'[listen]\nport = 1\n', "setting_unknown", "listen"),
        (b'listen_port = \n', "settings_unreadable", None),
        (b'\xff\xfe', "settings_unreadable", None),
    ],
)  # fmt: skip
def test_a_wrong_file(tmp_path: Path, content: bytes, code: str, key: str | None) -> None:
    path = tmp_path / "firstring.toml"
    path.write_bytes(content)
    with pytest.raises(BadInput) as wrong:
        load({"FIRSTRING_HOME": str(tmp_path)})
    assert wrong.value.code == code
    assert wrong.value.where == {"file": str(path), **({"key": key} if key else {})}
    assert wrong.value.hint or key is None


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("FIRSTRING_LISTEN_PROT", "1", "setting_unknown"),
        ("FIRSTRING_listen_port", "1", "setting_unknown"),
        ("FIRSTRING_LISTEN_PORT", "", "setting_invalid"),
        ("FIRSTRING_LISTEN_PORT", "1.5", "setting_invalid"),
        ("FIRSTRING_LOG_LEVEL", "loud", "setting_invalid"),
        ("FIRSTRING_HOME", "", "setting_invalid"),
        ("FIRSTRING_HOLD_URI", "http://x", "setting_invalid"),
        ("FIRSTRING_DATABASE_URL", "mysql://role:hidden@host", "setting_invalid"),
    ],
)
def test_a_wrong_variable(tmp_path: Path, variable: str, value: str, code: str) -> None:
    with pytest.raises(BadInput) as wrong:
        load({"FIRSTRING_HOME": str(tmp_path), variable: value})
    assert (wrong.value.code, wrong.value.where) == (code, {"variable": variable})
    assert wrong.value.hint
    assert "hidden" not in str(wrong.value)


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    settings = load(
        {
            "FIRSTRING_HOME": str(tmp_path),
            "FIRSTRING_MASTER_KEY": "5e" * 32,
            "FIRSTRING_DATABASE_URL": "postgresql://role:hidden@host/database",
            "FIRSTRING_DATABASE_OWNER_URL": "postgresql://owner:hidden@host/database",
        }
    )
    for text in (repr(settings), str(settings), f"{settings}"):
        assert "5e5e" not in text
        assert "hidden" not in text
        assert str(tmp_path) in text


def test_the_role_of_a_database(tmp_path: Path) -> None:
    def role(url: str) -> str:
        return Settings(home=tmp_path, database_url=url).database_role()

    assert role("postgresql://app%2Duser:p@h/d") == "app-user"
    assert role("postgresql:///d?host=/run/postgresql&user=app") == "app"
    with pytest.raises(BadInput):
        role("postgresql://h/d")
