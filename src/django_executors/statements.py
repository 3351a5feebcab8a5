"""Statements that Django's ORM compiles once per shape instead of each time: compiling costs more than running them.

What they mean is what the ORM means: the SQL is the ORM's own, with a marker where a value stands. Values are prepared by
their fields, as the ORM prepares them.

``where`` maps fields, or lookups like ``position__gte``, to values; never None. Expressions, and what ``__in`` and
``__isnull`` are given, are part of the statement and should not differ each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from django.db import connection, router
from django.db.models import Expression, Manager, Model
from django.db.models.sql import DeleteQuery, InsertQuery, UpdateQuery

__all__ = [
    "Statement",
    "delete",
    "fetch",
    "insert",
    "run_together",
    "select_column",
    "update",
    "update_and_fetch",
]

M = TypeVar("M", bound=Model)
Where = Mapping[str, Any]


class _Slot(Expression):
    """Stands for a value that is known when the statement runs."""

    def __init__(self, key: tuple[str, str], field: Any) -> None:
        super().__init__(output_field=field)
        self.key = key

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


class _Compiled(NamedTuple):
    sql: str
    params: tuple[Any, ...]
    names: tuple[str, ...] = ()
    converters: tuple[tuple[int, Any, Any], ...] = ()

    def bind(self, where: Where, values: Mapping[str, Any]) -> list[Any]:
        given = {"where": where, "value": values}
        bound = []
        for param in self.params:
            if isinstance(param, _Slot):
                kind, name = param.key
                value, field = given[kind][name], param.output_field
                if kind == "where":
                    value = field.get_prep_value(value)
                param = field.get_db_prep_save(value, connection)
            bound.append(param)
        return bound

    def rows(self, found: Iterable[Any]) -> Iterator[list[Any]]:
        for row in found:
            values = list(row)
            for at, functions, expression in self.converters:
                for function in functions:
                    values[at] = function(values[at], expression, connection)
            yield values


class Statement(NamedTuple):
    """A statement with its values, ready to run."""

    compiled: _Compiled
    params: list[Any]

    def run(self) -> Any:
        """Run it; return the rows of a query, or how many rows were changed."""
        with connection.cursor() as cursor:
            cursor.execute(self.compiled.sql, self.params)
            return self.result(cursor)

    def result(self, cursor: Any) -> Any:
        return list(self.compiled.rows(cursor.fetchall())) if cursor.description else int(cursor.rowcount)


def run_together(statements: Sequence[Statement]) -> list[Any]:
    """Run statements one after the other, in one round trip where the database's driver can; return what `run` returns."""
    if len(statements) < 2 or not _takes_several():
        return [statement.run() for statement in statements]
    results = []
    with connection.cursor() as cursor:
        cursor.execute(
            "; ".join(statement.compiled.sql for statement in statements),
            [param for statement in statements for param in statement.params],
        )
        for statement in statements:
            results.append(statement.result(cursor))
            cursor.nextset()
    return results


def _takes_several() -> bool:
    """Say whether the driver takes several statements at once and gives the result of each: psycopg 3, binding by itself."""
    if connection.vendor != "postgresql":
        return False
    version = str(getattr(connection.Database, "__version__", ""))  # type: ignore[attr-defined]
    return version.startswith("3") and not connection.settings_dict["OPTIONS"].get("server_side_binding")


_cache: dict[Any, _Compiled] = {}
_MOST_SHAPES = 1000
"""A bound, should values that differ each time ever get into the shapes."""


def fetch(model: type[M], **where: Any) -> Iterator[M]:
    """Iterate over ``model._base_manager.filter(**where)``, in no order."""
    if type(model._base_manager) is not Manager or router.db_for_read(model) != connection.alias:
        return iter(model._base_manager.filter(**where).order_by())  # whatever the project does with it
    compiled = _compiled("select", model, where, {}, lambda: _compile_select(model, where))
    rows = Statement(compiled, compiled.bind(where, {})).run()
    return iter([model.from_db(connection.alias, compiled.names, row) for row in rows])


def select_column(model: type[Model], column: str, where: Where) -> Statement:
    """Return the query for one field of ``model._base_manager.filter(**where)``, in no order; its rows have one value."""
    compiled = _compiled("column", model, where, {column: None}, lambda: _compile_select(model, where, column))
    return Statement(compiled, compiled.bind(where, {}))


def update(model: type[Model], where: Where, values: Mapping[str, Any]) -> Statement:
    """Return ``model._base_manager.filter(**where).update(**values)`` as a statement."""
    compiled = _compiled("update", model, where, values, lambda: _compile_update(model, where, values))
    return Statement(compiled, compiled.bind(where, values))


def update_and_fetch(model: type[M], pk: Any, where: Where, values: Mapping[str, Any]) -> M | None:
    """Update the row with this primary key if it fulfils ``where``, and return it as it is then, else None."""
    where = {"pk": pk, **where}
    if connection.vendor == "mysql":
        return next(fetch(model, pk=pk), None) if update(model, where, values).run() else None
    compiled = _compiled("returning", model, where, values, lambda: _compile_returning(model, where, values))
    rows = Statement(compiled, compiled.bind(where, values)).run()
    return model.from_db(connection.alias, compiled.names, rows[0]) if rows else None


def delete(model: type[Model], where: Where) -> Statement:
    """Return the deletion of the rows of a model that nothing refers to. No signals are sent."""
    compiled = _compiled("delete", model, where, {}, lambda: _compile_delete(model, where))
    return Statement(compiled, compiled.bind(where, {}))


def insert(model: type[Model], values: Mapping[str, Any]) -> Statement:
    """Return the insertion of a row; fields that are left out need a default in the database, as a primary key has."""
    compiled = _compiled("insert", model, {}, values, lambda: _compile_insert(model, values))
    return Statement(compiled, compiled.bind({}, values))


# -- compiling --------------------------------------------------------------------------------------------------------


def _compiled(
    kind: str, model: type[Model], where: Where, values: Mapping[str, Any], compile_it: Callable[[], _Compiled]
) -> _Compiled:
    fixed = tuple(value if _is_fixed(name, value) else None for each in (where, values) for name, value in each.items())
    key = (kind, connection.alias, connection.vendor, model, tuple(where), tuple(values), fixed)
    compiled = _cache.get(key)
    if compiled is None:
        if len(_cache) >= _MOST_SHAPES:
            _cache.clear()
        compiled = _cache[key] = compile_it()
    return compiled


def _is_fixed(name: str, value: Any) -> bool:
    return name.endswith(("__in", "__isnull")) or hasattr(value, "resolve_expression")


def _slots(model: type[Model], kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if _is_fixed(name, value) else _Slot((kind, name), _field(model, name))
        for name, value in values.items()
    }


def _field(model: type[Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name.partition("__")[0])


def _query(model: type[Model], where: Where) -> Any:
    return model._base_manager.filter(**_slots(model, "where", where)).order_by()


def _compile_select(model: type[Model], where: Where, column: str = "") -> _Compiled:
    found = _query(model, where)
    compiler = (found.values_list(column) if column else found).query.get_compiler(connection=connection)
    sql, params = compiler.as_sql()
    return _Compiled(sql, tuple(params), *_columns(model, compiler, [each for each, _, _ in compiler.select]))


def _columns(model: type[Model], compiler: Any, columns: list[Any]) -> tuple[tuple[str, ...], Any]:
    converters = compiler.get_converters(columns)
    names = tuple(field.attname for field in model._meta.concrete_fields)
    return names, tuple((at, *converters[at]) for at in converters)


def _compile_update(model: type[Model], where: Where, values: Mapping[str, Any]) -> _Compiled:
    query = _query(model, where).query.chain(UpdateQuery)
    query.add_update_values(_slots(model, "value", values))
    sql, params = query.get_compiler(connection=connection).as_sql()
    return _Compiled(sql, tuple(params))


def _compile_returning(model: type[Model], where: Where, values: Mapping[str, Any]) -> _Compiled:
    update = _compile_update(model, where, values)
    fields = model._meta.concrete_fields
    columns = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    compiler = _query(model, {}).query.get_compiler(connection=connection)
    table = model._meta.db_table
    selected = _columns(model, compiler, [field.get_col(table) for field in fields])
    return _Compiled(f"{update.sql} RETURNING {columns}", update.params, *selected)


def _compile_delete(model: type[Model], where: Where) -> _Compiled:
    query = _query(model, where).query.chain(DeleteQuery)
    sql, params = query.get_compiler(connection=connection).as_sql()
    return _Compiled(sql, tuple(params))


def _compile_insert(model: type[Model], values: Mapping[str, Any]) -> _Compiled:
    compiler = InsertQuery(model).get_compiler(connection=connection)
    quote: Any = connection.ops.quote_name
    field: Any = model._meta.get_field
    params: list[Any] = []
    places = []
    for value in _slots(model, "value", values).values():
        sql, found = compiler.compile(value.resolve_expression(compiler.query, allow_joins=False, for_save=True))
        places.append(sql)
        params += found
    columns = ", ".join(quote(field(name).column) for name in values)
    table = quote(model._meta.db_table)
    return _Compiled(f"INSERT INTO {table} ({columns}) VALUES ({', '.join(places)})", tuple(params))  # noqa: S608
