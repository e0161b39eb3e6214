"""How a statement is told to the driver: compiled, streamed, or planned once."""

from __future__ import annotations

import re
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from psycopg import errors as pg_errors
from psycopg.pq import ExecStatus
from sqlalchemy import exc as sa_exc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Executable
    from sqlalchemy.engine.interfaces import Dialect

# How what is planned once is planned: joined row by row. For values that it does not know
# PostgreSQL expects many rows, for which it would read whole tables.
_WALKED = {
    "plan_cache_mode": "force_generic_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",
}
_WALKING = ";".join(f"SET LOCAL {name} = {value}" for name, value in _WALKED.items())
_AS_BEFORE = ";".join(f"SET LOCAL {name} = DEFAULT" for name in _WALKED)
# A parameter of a statement as SQLAlchemy writes it for psycopg, or a percent sign.
NAMED = re.compile(r"%\((\w+)\)s|%%")
numbers = count()


def stream(
    connection: Connection, statement: Executable, *, size: int, first: int | None = None
) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of a statement as the driver gives them, in constant memory.

    They come `size` at a time, or `first` and then ever more, so that the first of all come soon.
    Nothing is converted: what needs it is not to be asked for this way.
    """
    failure = connection.dialect.loaded_dbapi.Error
    driver: Any = connection.connection.driver_connection
    told, fixed, living = compile_for(statement, connection.dialect)
    values = fixed | {name: value() for name, value in living.items()}
    try:
        with closing(_cursor(driver, connection.dialect)) as cursor:
            cursor.execute(told, values)
            number = first or size
            while rows := cursor.fetchmany(number):
                yield rows
                number = min(number * 4, size)
    except failure as error:
        raise sa_exc.DBAPIError.instance(None, None, error, failure) from error


def walk(cursor: Any, statement: str, parameters: Any) -> None:
    """Have a cursor of psycopg, in a transaction, run what each connection is to plan once."""
    settings = cursor.connection.cursor()
    settings.execute(_WALKING, prepare=False)
    cursor.execute(statement, parameters, prepare=True)
    settings.execute(_AS_BEFORE, prepare=False)


def _cursor(driver: Any, dialect: Dialect) -> Any:
    if dialect.name != "postgresql":
        return driver.cursor()
    return driver.cursor(f"govern_{next(numbers)}", binary=True)


def checked(driver: Any, result: Any) -> Any:
    """What the server answered; the driver's error where it is one."""
    if result.status not in {ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK}:
        raise pg_errors.error_from_result(result, encoding=driver.info.encoding)
    return result


def compile_for(
    statement: Executable, dialect: Dialect
) -> tuple[str, dict[str, Any], dict[str, Callable[[], Any]]]:
    """The statement's text, its constants, and what gives those that change, as a test's clock."""
    style = "pyformat" if dialect.name == "postgresql" else "named"
    own: Dialect = cast("Any", type(dialect))(paramstyle=style)
    compiled: Any = cast("Any", statement).compile(
        dialect=own, compile_kwargs={"render_postcompile": True}
    )

    def adapting(bound: Any) -> Callable[[Any], Any]:
        adapt = None if bound is None else bound.type.dialect_impl(own).bind_processor(own)
        return lambda value: value if adapt is None or value is None else adapt(value)

    def present(bound: Any) -> Callable[[], Any]:
        adapt = adapting(bound)
        return lambda: adapt(bound.effective_value)

    living = {
        name: present(bound)
        for name in compiled.params
        if (bound := compiled.binds.get(name)) is not None and bound.callable is not None
    }
    fixed = {
        name: adapting(compiled.binds.get(name))(value)
        for name, value in compiled.params.items()
        if name not in living
    }
    return compiled.string, fixed, living
