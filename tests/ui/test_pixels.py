"""Pictures in pixels: what the terminal answers decides, and what is sent is the picture with its crop."""

import base64
import io
import itertools
import os
import pty
import re
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from fluxgym_tui.config.workspace import Workspace
from fluxgym_tui.ui.app import FluxgymApp
from fluxgym_tui.ui.graphics import Graphics, ask, understood
from fluxgym_tui.ui.pixels import draw_pixels, sixels
from fluxgym_tui.ui.screens.dataset import DatasetScreen
from fluxgym_tui.ui.widgets.picture import Picture
from tests.ui.terminal import Terminal
from tests.ui.test_dataset import shown
from tests.ui.test_parameters import photos
from tests.ui.waiting import until

__all__ = ["photos"]

KITTY = b"\x1b_Gi=31;OK\x1b\\\x1b[6;20;10t\x1b[?62;c"
SIXEL = b"\x1b[6;18;9t\x1b[?62;4;22c"
WEZTERM = b"\x1b_Gi=31;OK\x1b\\\x1b[6;20;10t\x1b[?65;4;6;18;22c"


@pytest.mark.parametrize(
    ("said", "graphics"),
    [
        (KITTY, Graphics("kitty", 10, 20)),
        (SIXEL, Graphics("sixel", 9, 18)),
        (WEZTERM, Graphics("sixel", 10, 20)),
        (b"\x1b[?1;2;4c", Graphics("sixel", 10, 20)),
        (b"\x1b[?1;2;14;44c", None),
        (b"\x1b_Gi=31;ENOTSUPPORTED\x1b\\\x1b[?62;c", None),
        (b"\x1b[6;9999;0t\x1b[?4c", None),
        (b"", None),
    ],
)
def test_what_answers_mean(said: bytes, graphics: Graphics | None) -> None:
    assert understood(said) == graphics


@pytest.mark.parametrize("said", [KITTY, SIXEL, b"keys\x1b[?1;2c"])
def test_a_terminal_is_asked_and_left_as_it_was(said: bytes) -> None:
    import termios

    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)

    def terminal() -> None:
        question = b""
        while b"\x1b[c" not in question:
            question += os.read(master, 100)
        for byte in said:  # as slowly as a bad line
            os.write(master, bytes([byte]))

    answering = threading.Thread(target=terminal)
    answering.start()
    question = ask(slave, env={"TERM": "xterm-256color"})
    assert question is not None
    assert question.answer() == understood(said)
    answering.join()
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_a_terminal_that_says_nothing_has_half_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxgym_tui.ui.graphics._PATIENCE_S", 0.05)
    master, slave = pty.openpty()
    question = ask(slave, env={"TERM": "xterm"})
    assert question is not None
    assert question.answer() is None
    os.close(master)
    os.close(slave)


def test_an_answer_that_waits_is_read_after_however_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxgym_tui.ui.graphics._PATIENCE_S", 0.0)
    master, slave = pty.openpty()
    question = ask(slave, env={"TERM": "xterm"})
    assert question is not None
    os.write(master, SIXEL)
    assert question.answer() == Graphics("sixel", 9, 18)
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize(
    "env", [{"TERM": "screen-256color"}, {"TERM": "tmux"}, {"TERM": "xterm-kitty", "TMUX": "x"}, {"TERM": "linux"}, {}]
)
def test_multiplexers_and_consoles_are_not_asked(env: dict[str, str]) -> None:
    assert ask(-1, env=env) is None


def test_what_is_no_terminal_is_not_asked(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        assert ask(file.fileno(), env={"TERM": "xterm"}) is None


def picture(folder: Path) -> Path:
    """A picture of 200 by 100, its left half red and its right half green."""
    image = Image.new("RGB", (200, 100), (250, 10, 10))
    image.paste((10, 250, 10), (100, 0, 200, 100))
    path = folder / "halves.png"
    image.save(path)
    return path


def test_kitty_gets_the_picture_once_and_its_cells_name_it(tmp_path: Path) -> None:
    drawn = draw_pixels(picture(tmp_path), 30, 30, graphics=Graphics("kitty", 10, 20), kept=(0.0, 0.0, 0.5, 1.0))
    assert (drawn.columns, drawn.rows, drawn.pixels) == (30, 8, "")
    chunks = re.findall(r"\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\", drawn.before)
    head = dict(part.split("=") for part in chunks[0][0].split(","))
    assert (head["a"], head["U"], head["f"], head["q"], head["c"], head["r"]) == ("T", "1", "100", "2", "30", "8")
    assert all(len(data) <= 4096 for _, data in chunks)
    assert chunks[-1][0].endswith("m=0")
    image = Image.open(io.BytesIO(base64.b64decode("".join(data for _, data in chunks)))).convert("RGB")
    assert image.size == (300, 160)
    assert image.getpixel((75, 75)) == (250, 10, 10)
    lost = image.getpixel((225, 75))
    assert isinstance(lost, tuple)
    assert lost[1] < 80, "what is cut off is dark"
    assert image.getpixel((149, 75)) == (255, 214, 90), "the crop's edge"
    first = drawn.strips[0]
    colour = next(iter(first)).style
    assert colour is not None
    assert colour.color is not None
    assert colour.color.triplet is not None
    red, green, blue = colour.color.triplet
    assert (red << 16) + (green << 8) + blue == int(head["i"])
    assert f"i={head['i']}," in drawn.after
    assert [strip.cell_length for strip in drawn.strips] == [30] * 8
    assert drawn.strips[1].text[:6] == "\U0010eeee\u030d\u0305\U0010eeee\u030d\u030d"


def decoded(text: str) -> Image.Image:
    """The picture that Sixel data draws: a reader of its own, by DEC's description."""
    body = re.fullmatch(r'\x1bP0;1;0q"1;1;(\d+);(\d+)(.*)\x1b\\', text, re.DOTALL)
    assert body is not None
    image = Image.new("RGB", (int(body[1]), int(body[2])))
    palette: dict[int, tuple[int, int, int]] = {}
    x = y = colour = 0
    for token in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)(.)|([$-])|(.)", body[3]):
        if token[1]:
            palette[int(token[1])] = (
                int(token[2]) * 255 // 100,
                int(token[3]) * 255 // 100,
                int(token[4]) * 255 // 100,
            )
        elif token[5]:
            colour = int(token[5])
        elif token[8]:
            x, y = 0, y + (6 if token[8] == "-" else 0)
        else:
            times, letter = (int(token[6]), token[7]) if token[6] else (1, token[9])
            rows = [row for row in range(6) if (ord(letter) - 63) >> row & 1]
            for column, row in itertools.product(range(x, x + times), rows):
                image.putpixel((column, y + row), palette[colour])
            x += times
    return image


def test_sixel_draws_the_very_picture() -> None:
    image = Image.new("RGB", (37, 15), (250, 10, 10))
    image.paste((10, 10, 250), (5, 3, 30, 9))
    image.putpixel((36, 14), (10, 250, 10))
    found = decoded(sixels(image))
    for at in ((0, 0), (5, 3), (29, 8), (30, 9), (36, 14), (35, 14)):
        expected, got = image.getpixel(at), found.getpixel(at)
        assert isinstance(expected, tuple)
        assert isinstance(got, tuple)
        assert max(abs(a - b) for a, b in zip(expected, got, strict=True)) < 8, at


async def test_the_preview_is_in_pixels_where_the_terminal_draws_them(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos, graphics=Graphics("sixel", 10, 20))
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot, app)
        preview = app.screen.query_one(Picture)
        await until(pilot, lambda: preview._pixels and preview._pixels.room == tuple(preview.size), what="the picture")
        lines = preview.render_lines(preview.size.region)
        assert len(lines) == preview.size.height
        assert "\x1bP0;1;0q" in "".join(segment.text for segment in lines[-1])
        assert all(strip.cell_length == preview.size.width for strip in lines)


async def test_a_picture_is_sent_again_when_the_terminal_was_lent(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(workspace=workspace, screen="dataset", open_path=photos, graphics=Graphics("kitty", 10, 20))
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot, app)
        preview = app.screen.query_one(Picture)
        await until(pilot, lambda: preview._pixels and preview._pixels.room == tuple(preview.size), what="the picture")
        before = preview._pixels
        preview.show(preview._path, kept=preview._kept)
        app.app_resume_signal.publish(app)
        await until(pilot, lambda: preview._pixels is not before, what="the picture anew")


async def test_ascii_falls_back_to_letters(workspace: Workspace, photos: Path) -> None:
    app = FluxgymApp(
        workspace=workspace, screen="dataset", open_path=photos, graphics=Graphics("kitty", 10, 20), ascii_only=True
    )
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await shown(pilot, app)
        assert isinstance(screen, DatasetScreen)
        preview = app.screen.query_one(Picture)
        await until(pilot, lambda: preview._strips, what="the picture")
        assert preview._pixels is None


@pytest.mark.parametrize(("answer", "sent"), [(KITTY, b"\x1b_Ga=T,U=1"), (SIXEL, b"\x1bP0;1;0q"), (b"\x1b[?1;2c", b"")])
def test_the_real_app_on_a_terminal_that_answers(tmp_path: Path, photos: Path, answer: bytes, sent: bytes) -> None:
    env = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "TMUX": "", "FLUXGYM_HOME": str(tmp_path / "gym"),
           "XDG_CONFIG_HOME": str(tmp_path)}  # fmt: skip
    argv = [sys.executable, "-c", "import os, sys; os.environ.pop('TMUX'); from fluxgym_tui.__main__ import main; "
            "sys.argv = ['fluxgym-tui', sys.argv[1]]; sys.exit(main())", str(photos)]  # fmt: skip
    terminal = Terminal(argv, env=env, columns=120, rows=40)
    try:
        while b"\x1b[c" not in terminal.raw:
            terminal.read_for(0.02)
        terminal.press(answer.decode())
        terminal.until("p1.png")
        terminal.until("trained")
        if sent:
            for _ in range(500):
                if sent in terminal.raw:
                    break
                terminal.read_for(0.02)
            assert sent in terminal.raw
        else:
            assert b"\x1b_Ga=T" not in terminal.raw
            assert b"\x1bP0;1;0q" not in terminal.raw
    finally:
        terminal.close(kill=True)
