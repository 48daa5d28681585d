"""Whether a repository may be read, asked before anything is started or fetched."""

from fluxgym_tui.hub.auth import token_source
from fluxgym_tui.hub.library import ask, is_offline, load, offline, told


def check_access(repo: str) -> None:
    """Ask the Hub whether `repo` may be read with this machine's token.

    Raises:
        HubError: it may not; `reason` is no_token (nobody is logged in), licence (not accepted by this account),
            token_scope (a fine-grained token without gated read), bad_token, no_repo, offline, unreachable ...
    """
    what = f"read {repo}"
    if is_offline():
        raise offline(what)
    source = token_source()
    load()
    from huggingface_hub.errors import HfHubHTTPError

    with told(what, repo=repo, logged_in=source is not None):
        try:
            ask(f"/api/models/{repo}/auth-check", token=None if source is None else source.token.reveal())
        except HfHubHTTPError as error:
            # A mirror may not know this question: then the first request for a file has the answer.
            if error.response.status_code == 404 and "X-Error-Code" not in error.response.headers:
                return
            raise
