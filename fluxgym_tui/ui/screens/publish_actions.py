"""The actions of the screen Publish, and what it says while there is nothing to publish."""

from fluxgym_tui.ui.actions import Action

EMPTY = """\
There is nothing to publish yet.

A LoRA file of a run can be published, with a model card and the samples
it drew. No run in {outputs} has one.

1 begins a training of your own pictures. In another terminal,
fluxgym-tui demo trains the bundled example in about two minutes.
What they save can be published from here at once."""

PUBLISH_ACTIONS = (
    Action(id="publish.publish", keys="p", label="publish", help="Upload the files on the list.", action="publish"),
    Action(id="publish.dry-run", keys="d", label="dry run", help="Write to a folder exactly what would go up.",
           action="dry_run"),
    Action(id="publish.checkpoint", keys="c", label="LoRA file", help="Choose another LoRA file of this run.",
           action="checkpoint"),
    Action(id="publish.card", keys="v", label="card", help="Show the card; on a narrow terminal it or the files.",
           action="card"),
    Action(id="publish.login", keys="l", label="log in", help="Give a Hugging Face token; it is never shown.",
           action="login"),
    Action(id="publish.run", keys="r", label="run", help="Choose another run.", action="run"),
    Action(id="publish.name", keys="e", label="name", help="Change the name of the repository.", action="name"),
    Action(id="publish.private", keys="t", label="private/public", help="Change who may see the repository.",
           action="private"),
    Action(id="publish.owner", keys="o", label="owner", help="Yourself or one of your organisations, in turn.",
           action="owner", shown=False),
    Action(id="publish.break-off", keys="s", label="break off", help="Stop the upload; what is up stays there.",
           action="break_off", shown=False),
    Action(id="publish.copy", keys="y", label="copy link", help="Copy the link of the repository.",
           action="copy_link", shown=False),
    Action(id="publish.logout", keys="L", label="log out", help="Remove the stored token from this machine.",
           action="logout", shown=False),
    Action(id="publish.ask", keys="f5", label="look again", help="Look at the files and ask for the account anew.",
           action="ask", shown=False),
)  # fmt: skip
