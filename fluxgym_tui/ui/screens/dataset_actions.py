"""What can be done on the Dataset screen, and with which key."""

from fluxgym_tui.ui.actions import Action
from fluxgym_tui.ui.screens.draft_screen import draft_actions

DATASET_ACTIONS: tuple[Action, ...] = (
    *draft_actions("dataset"),
    Action(id="dataset.folder", keys="o", label="folder", help="Choose the folder of pictures.",
           action="choose_folder"),
    Action(id="dataset.edit", keys="i", label="caption", action="edit",
           help="Write the caption of this picture (enter, too); esc leaves it, and it is saved."),
    Action(id="dataset.editor", keys="e", label="editor", action="editor", shown=False,
           help="Write the caption in your own editor, as $VISUAL or $EDITOR name it."),
    Action(id="dataset.auto", keys="a", label="by a model", action="auto",
           help="Have captions made by Florence-2, an endpoint or a program of yours: of the marked pictures, or all."),
    Action(id="dataset.bulk", keys="b", label="many", action="bulk",
           help="Find and replace, put words before or behind: on the marked pictures, else on all that are shown."),
    Action(id="dataset.trigger", keys="t", label="trigger", action="trigger",
           help="Put the trigger before captions that lack it; shows them first."),
    Action(id="dataset.undo", keys="u", label="undo", help="Take the last change of captions back.", action="undo",
           shown=False),
    Action(id="dataset.redo", keys="U", label="redo", help="Make the change again that was taken back.",
           action="redo", shown=False),
    Action(id="dataset.filter", keys="f", label="filter", action="filter",
           help="Show all, those to mend, those without caption, or the marked ones."),
    Action(id="dataset.subset", keys="s", label="subset", action="subset", shown=False,
           help="Of a spec with several folders: show the pictures of the next one alone, then all."),
    Action(id="dataset.search", keys="slash", label="search", help="Show only pictures with these words.",
           action="search", shown=False),
    Action(id="dataset.mark", keys="space", label="mark", help="Mark this picture for a change of many.",
           action="mark", shown=False),
    Action(id="dataset.mark-all", keys="asterisk", label="mark all", help="Mark all that are shown, or none.",
           action="mark_all", shown=False),
    Action(id="dataset.next-missing", keys="right_square_bracket", label="next without caption",
           help="Go to the next picture without a caption.", action="missing(1)", shown=False),
    Action(id="dataset.previous-missing", keys="left_square_bracket", label="one before without caption",
           help="Go to the picture before without a caption.", action="missing(-1)", shown=False),
    Action(id="dataset.next", keys="ctrl+down", label="next picture", action="neighbour(1)", shown=False,
           help="Go to the next picture, also while a caption is written."),
    Action(id="dataset.previous", keys="ctrl+up", label="picture before", action="neighbour(-1)", shown=False,
           help="Go to the picture before, also while a caption is written."),
    Action(id="dataset.convert", keys="c", label="convert", action="convert", shown=False,
           help="Convert captions that are not UTF-8; each old file is kept beside it."),
    Action(id="dataset.preview", keys="v", label="picture", action="preview",
           help="On a narrow terminal: show the picture in place of the list, and back."),
    Action(id="dataset.problems", keys="P", label="problems", action="problems", shown=False,
           help="List all that is to be mended, each with the key that does it."),
    Action(id="dataset.copy", keys="y", label="copy path", action="copy", shown=False,
           help="Copy the picture's path to the clipboard of your terminal."),
    Action(id="dataset.copy-caption", keys="Y", label="copy caption", action="copy_caption", shown=False,
           help="Copy the caption to the clipboard of your terminal."),
    Action(id="dataset.look", keys="r", label="read again", help="Read the folder anew.", action="look", shown=False),
    Action(id="dataset.example", keys="d", label="example", action="example", shown=False,
           help="Open the bundled example: ten photographs and a tiny base model."),
)  # fmt: skip

NEEDS_PICTURES = frozenset(
    {
        "auto", "edit", "editor", "missing", "bulk", "trigger", "convert", "filter", "subset", "search", "mark",
        "mark_all", "preview", "copy", "copy_caption", "neighbour",
    }
)  # fmt: skip
