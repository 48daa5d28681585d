"""Caption changes: many at once, undo and redo, and never over what somebody else changed."""

from pathlib import Path

from fluxgym_tui.dataset.caption_edits import BulkEdit, CaptionHistory, bulk_changes, estimated_tokens


def test_bulk_edits_change_the_line_that_is_trained() -> None:
    edit = BulkEdit(find="cat", replace="dog", prefix="hrld, ", suffix=", photo")
    assert edit.of("a cat\nnote\n") == "hrld, a dog, photo\nnote"
    assert BulkEdit(prefix="hrld, ", lacking="hrld").of("Hrld in rain") == "Hrld in rain"
    texts = {Path("a"): "a cat", Path("b"): "a cow"}
    assert bulk_changes(BulkEdit(find="cat", replace="dog"), texts) == {Path("a"): "a dog"}


def test_undo_and_redo_bring_back_the_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "1.txt", tmp_path / "2.txt"
    one.write_bytes(b"caf\xe9\r\n")
    history = CaptionHistory()
    assert history.write({one: "a café", two: "two"}, what="both") == 2
    assert (one.read_text(encoding="utf-8"), two.read_text(encoding="utf-8")) == ("a café\n", "two\n")
    assert history.undo() == ("both", [])
    assert one.read_bytes() == b"caf\xe9\r\n"
    assert not two.exists()
    assert (history.undoable, history.redoable) == (None, "both")
    assert history.redo() == ("both", [])
    assert two.read_text(encoding="utf-8") == "two\n"


def test_one_typing_is_one_step(tmp_path: Path) -> None:
    path = tmp_path / "1.txt"
    history = CaptionHistory()
    history.write({path: "a"}, what="typing", merge=True)
    history.write({path: "a tree"}, what="typing", merge=True)
    assert history.write({path: "a tree"}, what="typing", merge=True) == 0
    history.undo()
    assert not path.exists()
    assert history.undoable is None


def test_undo_leaves_what_others_changed_meanwhile(tmp_path: Path) -> None:
    one, two = tmp_path / "1.txt", tmp_path / "2.txt"
    history = CaptionHistory()
    history.write({one: "one", two: "two"}, what="both")
    one.write_text("mine", encoding="utf-8")
    assert history.undo() == ("both", [one])
    assert one.read_text(encoding="utf-8") == "mine"
    assert not two.exists()


def test_conversion_keeps_the_old_bytes_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "1.txt"
    path.write_bytes(b"caf\xe9\n")
    history = CaptionHistory()
    (backup,) = history.convert([path])
    assert (path.read_text(encoding="utf-8"), backup.read_bytes()) == ("café\n", b"caf\xe9\n")
    history.undo()
    assert path.read_bytes() == b"caf\xe9\n"


def test_tokens_are_about_words_and_signs() -> None:
    assert estimated_tokens("") == 0
    assert 6 <= estimated_tokens("a cat, a dog") <= 10
