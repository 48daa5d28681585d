"""The account on the screen Publish: who is logged in, logging in and out, the owner of the repository."""

from textual import on
from textual.widgets import Input

from fluxgym_tui.hub.auth import Account, TokenSource
from fluxgym_tui.ui.publish_words import account_words
from fluxgym_tui.ui.screens.publish_work import AccountKnown, LoginOffered, PublishWork


class PublishAccount(PublishWork):
    """Who publishes; `why_no_account` says why that is not known, empty while it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.source: TokenSource | None = None
        self.why_no_account = ""

    @property
    def repo_id(self) -> str:
        """The repository as it stands in the field."""
        return self.query_one("#repo", Input).value.strip()

    def show_publication(self) -> None:
        """Show what is known now; the screen's own."""

    def why_not_account(self, action: str) -> str | None:
        """Why `action`, one of the account's, cannot be done now; None where it can."""
        if action == "logout" and self.source is None:
            return "nobody is logged in"
        if action == "logout" and self.source is not None and self.source.kind == "environment":
            return f"the token comes from {self.source.place}, which is set outside"
        if action == "owner" and (self.account is None or len(self.account.owners) < 2):
            return "no organisation of yours is known"
        if action == "publish" and self.account is None:
            return self.why_no_account or "Hugging Face is being asked for the account"
        return None

    @on(AccountKnown)
    def _account_known(self, message: AccountKnown) -> None:
        self.account, self.source = message.account, message.source
        self.why_no_account = "nobody is logged in" if message.error is None else message.error.message
        if self.typed is None:
            self.gather()  # the owner stands in the card
        self.show_publication()

    def action_owner(self) -> None:
        """The next owner, the name as it is."""
        if self.account is None:
            return
        owner, _, name = self.repo_id.rpartition("/")
        owners = self.account.owners
        following = owners[(owners.index(owner) + 1) % len(owners)] if owner in owners else owners[0]
        self.query_one("#repo", Input).value = f"{following}/{name}"

    def action_login(self) -> None:
        """Ask for a token."""
        self.offer_login()

    @on(LoginOffered)
    def _open_login(self, message: LoginOffered) -> None:
        from fluxgym_tui.ui.screens.publish_dialogs import LoginScreen

        def answered(account: Account | None) -> None:
            if account is not None:
                self.notify(f"Logged in: {account_words(account)}.")
                self.ask_account()

        place = self.source.place if self.source is not None and self.source.kind == "environment" else None
        self.app.push_screen(LoginScreen(from_environment=place, old_file=message.old_file), answered)

    def action_logout(self) -> None:
        """Remove the stored token."""
        self.log_out()
