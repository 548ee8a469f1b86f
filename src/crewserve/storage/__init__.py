"""The only home of SQL: tables, migrations and the stores built on them."""
