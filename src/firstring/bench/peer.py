"""Splink's look-up of one caller against the same records, in a process of its own.

Run as `python -m firstring.bench.peer FOLDER QUERIES SECONDS`: FOLDER holds the generator's CSV files, QUERIES is a JSON
file with one {phone, given_name, family_name, birth_date, postcode} a look-up. Prints JSON: the version, the seconds
that loading and training took, the latencies, how often anybody was found, and the memory.

Splink 5 has no call for one record; `predict_between` (new records against existing ones, with blocking) is what its
documentation names for incremental linkage. DuckDB gets an index on each blocking column, and the numbers are brought
into one form and freed of placeholders beforehand, so that Splink does no work that Firstring did at the import.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from firstring.bench.people import PLACEHOLDER_BORN, PLACEHOLDER_EMAIL, PLACEHOLDER_PHONE, SOURCES
from firstring.bench.programs import resident_mb

_COLUMNS = ("given_name", "family_name", "birth_date", "phone", "email", "postcode")


def trained(folder: Path) -> tuple[Any, Any, dict[str, float]]:
    """(linker, the existing records registered, seconds by step). The settings are those of Splink's own examples."""
    import duckdb
    import splink.comparison_library as cl
    from splink import Linker, SettingsCreator, block_on
    from splink.backends.duckdb import DuckDBAPI

    seconds: dict[str, float] = {}
    began = time.perf_counter()
    connection = duckdb.connect()
    files = ", ".join(f"'{folder / source}.csv'" for source in SOURCES)
    connection.execute(  # the paths are ours
        f"""create table customers as
        select record_id as unique_id, given_name, family_name,
               nullif(birth_date, '{PLACEHOLDER_BORN}') as birth_date, postcode,
               nullif(email, '{PLACEHOLDER_EMAIL}') as email,
               right(regexp_replace(coalesce(nullif(mobile_phone, '{PLACEHOLDER_PHONE}'), home_phone), '[^0-9]', '', 'g'), 9)
                 as phone
        from read_csv([{files}], all_varchar = true, header = true, nullstr = '')"""  # noqa: S608
    )
    for column in ("phone", "email"):
        connection.execute(f"create index by_{column} on customers ({column})")
    seconds["load"] = time.perf_counter() - began

    began = time.perf_counter()
    api = DuckDBAPI(connection=connection)
    registered = api.register("customers")
    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=[
            cl.NameComparison("given_name"),
            cl.NameComparison("family_name"),
            cl.LevenshteinAtThresholds("birth_date", [1, 2]),
            cl.ExactMatch("phone").configure(term_frequency_adjustments=True),
            cl.EmailComparison("email"),
            cl.ExactMatch("postcode").configure(term_frequency_adjustments=True),
        ],
        blocking_rules_to_generate_predictions=[
            block_on("phone"),
            block_on("email"),
            block_on("family_name", "birth_date"),
            block_on("given_name", "birth_date", "postcode"),
        ],
    )
    linker = Linker(registered, settings, log_level=logging.ERROR)
    training = linker.training
    training.estimate_probability_two_random_records_match([block_on("phone", "given_name"), block_on("email")], recall=0.7)
    training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
    training.estimate_parameters_using_expectation_maximisation(block_on("family_name", "birth_date"))
    training.estimate_parameters_using_expectation_maximisation(block_on("email"))
    for column in ("phone", "postcode", *_names_with_frequencies(linker)):
        linker.table_management.compute_tf_table(column)
    seconds["train"] = time.perf_counter() - began
    return linker, registered, seconds


def _names_with_frequencies(linker: Any) -> list[str]:
    columns = linker._settings_obj._term_frequency_columns
    return [column.unquote().name for column in columns if column.unquote().name not in ("phone", "postcode")]


def look_up(linker: Any, existing: Any, query: dict[str, str]) -> tuple[float, bool]:
    """(latency in ms, whether anybody was found with a probability of at least .5)."""
    import duckdb

    began = time.perf_counter()
    api = linker._db_api
    columns = ", ".join(f"? as {column}" for column in _COLUMNS)
    connection: duckdb.DuckDBPyConnection = api._con
    values = [query.get(column) or None for column in _COLUMNS]
    connection.execute(f"create or replace table caller as select 'caller' as unique_id, {columns}", values)
    caller = api.register("caller")
    found = linker.inference.predict_between(caller, existing, threshold_match_probability=0.5)
    rows = found.as_record_list()
    found.drop_table_from_database_and_remove_from_cache()
    return (time.perf_counter() - began) * 1000.0, bool(rows)


def main(folder: Path, queries: Path, seconds: float) -> None:
    import os

    import splink

    linker, existing, took = trained(folder)
    calls = json.loads(queries.read_text())
    look_up(linker, existing, calls[0])
    latency_ms: list[float] = []
    hits = 0
    until = time.perf_counter() + seconds
    for call in calls[1:]:
        duration, hit = look_up(linker, existing, call)
        latency_ms.append(duration)
        hits += hit
        if time.perf_counter() > until:
            break
    report = {
        "version": splink.__version__,
        "seconds": took,
        "latency_ms": latency_ms,
        "found": hits / len(latency_ms),
        "memory_mb": resident_mb(os.getpid()),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
