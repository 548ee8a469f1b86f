"""Hot statements, compiled once.

SQLAlchemy's statements and types, without its work for each execution: on SQLite that takes several
times as long as the statement itself. Parameters are positional, so the dialect's must be too
(``qmark`` or ``format``).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ClauseElement, Connection, CursorResult, Dialect

Encode = Callable[[Any], Any]


class Prepared:
    """One statement for one dialect, with positional parameters."""

    def __init__(
        self, statement: ClauseElement, dialect: Dialect, columns: Sequence[str] | None = None
    ) -> None:
        """*columns* are those that an insert or update without values shall set."""
        keys: Any = {"column_keys": list(columns)} if columns else {}
        compiled: Any = statement.compile(dialect=dialect, **keys)
        self.sql = str(compiled)
        self._parameters: list[tuple[str, Encode | None]] = [
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
            for name in compiled.positiontup
        ]
        self._constants = {
            name: compiled.binds[name].value
            for name in compiled.positiontup
            if not compiled.binds[name].required
        }

    def bound(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """*values* as the driver takes them."""
        if self._constants:
            values = {**self._constants, **values}
        return tuple(
            encode(values[name]) if encode else values[name] for name, encode in self._parameters
        )

    def run(self, connection: Connection, values: Mapping[str, Any]) -> CursorResult[Any]:
        """Execute it on *connection*."""
        return connection.exec_driver_sql(self.sql, self.bound(values))

    def run_all(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> int:
        """Execute it for each of *rows*, in their order; answers how many rows that touched."""
        return connection.exec_driver_sql(self.sql, [self.bound(row) for row in rows]).rowcount
