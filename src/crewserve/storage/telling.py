"""What a database says, for people."""

from sqlalchemy.exc import DataError, DBAPIError

from crewserve.domain.errors import CrewserveError, StorageUnavailable, ValueRefused


def told(error: BaseException) -> str:
    """The driver's own words, without SQL, parameters and the lines that explain."""
    said = error.orig if isinstance(error, DBAPIError) else error
    return str(said).partition("\n")[0]


def error_of(error: DBAPIError) -> CrewserveError:
    """What *error* means to whoever asked: whether there is sense in asking again."""
    limit_exceeded = str(getattr(error.orig, "sqlstate", None)).startswith("54")
    if limit_exceeded or isinstance(error, DataError):
        return ValueRefused(told(error))
    return StorageUnavailable()
