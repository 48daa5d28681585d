"""The user's settings: read, refused by name, saved without losing what others keep there."""

from pathlib import Path

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.settings import Settings, load_settings, save_theme, settings_path


def test_they_lie_in_the_users_config_folder() -> None:
    assert settings_path({"HOME": "/home/ann"}) == Path("/home/ann/.config/fluxgym-tui/settings.yaml")
    assert settings_path({"XDG_CONFIG_HOME": "/c", "HOME": "/h"}) == Path("/c/fluxgym-tui/settings.yaml")


def test_without_a_file_they_are_the_apps_own(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "none.yaml") == Settings()


def test_a_theme_is_kept_beside_what_else_is_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "settings.yaml"
    save_theme(path, "fluxgym-light")
    path.write_text("theme: x\nchannels: {phone: secret}\nkeys: {live.stop: ctrl+s}\n", encoding="utf-8")
    save_theme(path, "fluxgym-dark")
    assert load_settings(path) == Settings(theme="fluxgym-dark", keys={"live.stop": "ctrl+s"})
    assert "secret" in path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["theme: [a]", "keys: {a: 3}", "keys: x", "- a", "a: [", "\x00"])
def test_what_makes_no_sense_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FluxgymError, match=r"settings\.yaml"):
        load_settings(path)
