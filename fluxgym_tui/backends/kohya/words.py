"""sd-scripts' messages and help made fit to show: the English half, and not too long."""


def english(message: str) -> str:
    """The English half: sd-scripts says most things twice, English before a slash and Japanese behind it."""
    first, _, japanese = message.partition(" / ")
    return message.strip() if japanese.isascii() else first.strip()


def shortened(text: str, longest: int = 1000) -> str:
    """`text`, cut to `longest` characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
