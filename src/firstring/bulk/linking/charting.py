"""Charts of a model as a file: reads PAIRS and the truth, where they are given, a bounded part at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import duckdb

from firstring.bulk.linking.console import model_in
from firstring.errors import BadInput
from firstring.identity.model.charts import Bin, PairShown, charts

_EDGES: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)


def charted(
    model: Path, *, pairs: Path | None = None, pair: str = "", truth: Path | None = None, other: Path | None = None
) -> str:
    """The charts of a model as HTML.

    pairs: as `link --pairs` writes them. pair: "LEFT_ID,RIGHT_ID", else the pair nearest to .5. truth: CSV or Parquet with
    record_id and person. other: a model to compare with. Raises BadInput: as model_in, pairs_missing, pairs_malformed,
    pair_missing, argument_missing.
    """
    known = model_in(model)
    if pairs is None:
        if pair or truth:
            where = {"argument": "pairs"}
            raise BadInput("argument_missing", "Which pairs?", where=where, hint="Give --pairs, as link writes them.")
        return charts(known, other=model_in(other) if other else None)
    with duckdb.connect() as connection:
        try:
            found = _pairs(connection, pairs)
            shown = _pair(connection, found, pair)
            bins = _bins(connection, truth)
        except duckdb.Error as error:
            message = f"The pairs or the truth cannot be read: {str(error).splitlines()[0]}"
            hint = "Pairs are what link --pairs writes; the truth has record_id and person."
            raise BadInput("pairs_malformed", message, where={"file": str(pairs)}, hint=hint) from error
    return charts(known, pair=shown, bins=bins, other=model_in(other) if other else None)


def _pairs(connection: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    """Opens the pairs as a view; its weight columns."""
    _view(connection, "pairs", path)
    columns = [row[0] for row in connection.execute("describe pairs").fetchall()]
    return [name for name in columns if name.startswith("weight_")]


def _view(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    if not path.is_file():
        raise BadInput("pairs_missing", "There is no such file.", where={"file": str(path)}, hint="Check its name.")
    quoted = str(path).replace("'", "''")
    reader = "read_parquet" if path.suffix.lower() == ".parquet" else "read_csv"
    options = "" if reader == "read_parquet" else (
        ", header = true, types = {'record_id': 'varchar', 'person': 'varchar'}" if name == "truth"
        else ", header = true, types = {'left_id': 'varchar', 'right_id': 'varchar'}"
    )  # fmt: skip
    cast = " replace (probability::double as probability)" if name == "pairs" else ""
    connection.execute(f"create view {name} as select *{cast} from {reader}('{quoted}'{options})")  # noqa: S608 - our own text


def _pair(connection: duckdb.DuckDBPyConnection, weights: list[str], wanted: str) -> PairShown | None:
    columns = ", ".join(f'"{name}"' for name in ("left_id", "right_id", "probability", "against", "prior", *weights))
    if wanted:
        left, _, right = wanted.partition(",")
        row: Any = connection.execute(
            f"select {columns} from pairs where (left_id = ? and right_id = ?) or (left_id = ? and right_id = ?) limit 1",  # noqa: S608
            [left, right, right, left],
        ).fetchone()
        if row is None:
            message = "These two are no pair of the file."
            raise BadInput("pair_missing", message, where={"argument": "pair"}, hint="Write LEFT_ID,RIGHT_ID.")
    else:
        row = connection.execute(
            f"select {columns} from pairs order by abs(probability - 0.5), left_id, right_id limit 1"  # noqa: S608
        ).fetchone()
    if row is None:
        return None
    named = {name.removeprefix("weight_"): float(value) for name, value in zip(weights, row[5:], strict=True)}
    return PairShown(str(row[0]), str(row[1]), float(row[2]), str(row[3]), float(row[4]), named)


def _bins(connection: duckdb.DuckDBPyConnection, truth: Path | None) -> list[Bin]:
    """Pairs by stated probability; with the truth, how many of each bin are right."""
    right = "null"
    source = "pairs"
    if truth is not None:
        _view(connection, "truth", truth)
        right = "sum((a.person = b.person)::int)"
        source = "pairs join truth a on a.record_id = left_id join truth b on b.record_id = right_id"
    place = " + ".join(f"(probability >= {edge})::int" for edge in _EDGES[1:-1])
    rows = connection.execute(
        f"select {place} as bin, avg(probability), count(*), {right} "  # noqa: S608
        f"from {source} group by 1 order by 1"
    ).fetchall()
    return [
        Bin(_EDGES[int(number)], _EDGES[int(number) + 1], float(mean), int(count), None if good is None else int(good))
        for number, mean, count, good in rows
    ]
