"""What keeps a command from its work."""


class CannotStart(Exception):
    """Its text is one line; the hint, if any, is the second argument."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
