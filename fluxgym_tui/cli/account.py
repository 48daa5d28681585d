"""An account on Hugging Face, for people and for programs: what `login` and `whoami` print."""

from typing import Any

from fluxgym_tui.hub.auth import Account, TokenSource

_ROLES = {
    "read": "read: downloads, no publishing",
    "write": "write: downloads and publishing",
    "fine-grained": "fine-grained",
    None: "not told by Hugging Face",
}


def account_lines(account: Account, source: TokenSource | None) -> list[str]:
    """Who is logged in and what the token may do."""
    lines = [f"logged in as {account.name}" + (f" ({account.fullname})" if account.fullname else "")]
    if source is not None:
        lines.append(f"  token: {account.token_name or 'without a name'}, from {source.place}")
    lines.append(f"  role: {_ROLES.get(account.role, account.role)}")
    if account.role == "fine-grained":
        lines.append(f"  gated models: {'may be read' if account.reads_gated else 'may NOT be read'}")
        lines.append(f"  publishes to: {', '.join(account.writes_to) or 'nobody'}")
    if account.organisations:
        lines.append(f"  organisations: {', '.join(one.name for one in account.organisations)}")
    return lines


def account_json(account: Account, source: TokenSource | None) -> dict[str, Any]:
    """The same for programs; never the token."""
    return {
        "name": account.name,
        "fullname": account.fullname,
        "organisations": [{"name": one.name, "role": one.role} for one in account.organisations],
        "role": account.role,
        "token_name": account.token_name,
        "token_from": None if source is None else source.place,
        "reads_gated": account.reads_gated,
        "writes_to": list(account.writes_to),
    }
