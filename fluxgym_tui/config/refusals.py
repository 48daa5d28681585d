"""Errors of a spec's rules that know their key, so that the file's reader can name the line."""

from pydantic_core import PydanticCustomError

Place = tuple[str | int, ...]


def refuse(place: Place, message: str, hint: str | None = None) -> PydanticCustomError:
    """An error about the key at `place`, a route through the spec; `message` goes on from the key's name."""
    return PydanticCustomError("refused", "{message}", {"message": message, "hint": hint, "place": place})
