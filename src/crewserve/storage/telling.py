"""What a database says, for people."""

from sqlalchemy.exc import DBAPIError


def told(error: BaseException) -> str:
    """The driver's own words, without SQL, parameters and the lines that explain."""
    said = error.orig if isinstance(error, DBAPIError) else error
    return str(said).partition("\n")[0]
