"""Splink on the same files: trained without labels, linked, clustered. Run as `python -m firstring.bench.identity_peer JOB`.

JOB is a JSON file: files, columns (column -> field), left_out (fields), threshold, out (record_id, person_id), pairs
(left_id, right_id, probability) and `from`, the probability from which on pairs are written. Comparisons and training are
those of Splink's examples, blocking rules and fields those that gave the best F1 of several sets tried on fake_20000, FEBRL
and 20,000 household records: the peer is run as somebody would who knows it and has looked at the data.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any, Final

_FIRST: Final = ("given_name", "family_name", "birth_date", "city", "postcode", "email", "phone", "national_id", "street")
_LOOSE_RECORDS: Final = 50_000
"""More records than this have too many pairs under a date, or a name and a city, alone."""


def main(job: dict[str, Any]) -> None:
    import duckdb
    import splink.comparison_library as cl
    from splink import Linker, SettingsCreator, block_on
    from splink.backends.duckdb import DuckDBAPI

    connection = duckdb.connect()
    fields: dict[str, list[str]] = {}
    for column, field in job["columns"].items():
        fields.setdefault(field, []).append(column)
    have = [field for field in _FIRST if field in fields and field not in job["left_out"]]
    quoted = {field: ", ".join(f"nullif(\"{column}\", '')" for column in fields[field]) for field in have}
    values = {field: f"coalesce({quoted[field]})" for field in have}
    # In one form and without placeholders, as a user of Splink would bring them beforehand.
    if "phone" in values:
        values["phone"] = "coalesce({})".format(
            ", ".join(f"case when \"{c}\" not like '000%' then nullif(\"{c}\", '') end" for c in fields["phone"])
        )
        values["phone"] = f"nullif(right(regexp_replace({values['phone']}, '[^0-9]', '', 'g'), 9), '')"
    if "email" in values:
        values["email"] = f"case when {values['email']} not like 'noemail@%' then {values['email']} end"
    if "birth_date" in values:
        values["birth_date"] = f"nullif({values['birth_date']}, '1900-01-01')"
    if "given_name" in values:
        values |= {name: f"lower({values[name]})" for name in ("given_name", "family_name")}
    selected = ", ".join(f"{value} as {field}" for field, value in values.items())
    source = f"read_csv({job['files']}, all_varchar = true, header = true, nullstr = '', union_by_name = true)"
    connection.execute(
        f'create table records as select "{fields["record_id"][0]}" as unique_id, {selected} from {source}'  # noqa: S608
    )
    made: dict[str, Any] = {
        "given_name": lambda: cl.NameComparison("given_name").configure(term_frequency_adjustments=True),
        "family_name": lambda: cl.NameComparison("family_name").configure(term_frequency_adjustments=True),
        "birth_date": lambda: cl.LevenshteinAtThresholds("birth_date", [1, 2]),
        "city": lambda: cl.ExactMatch("city").configure(term_frequency_adjustments=True),
        "postcode": lambda: cl.ExactMatch("postcode").configure(term_frequency_adjustments=True),
        "email": lambda: cl.EmailComparison("email"),
        "phone": lambda: cl.ExactMatch("phone").configure(term_frequency_adjustments=True),
        "national_id": lambda: cl.LevenshteinAtThresholds("national_id", 2),
        "street": lambda: cl.JaroWinklerAtThresholds("street"),
    }
    rules = [("given_name", "family_name"), ("family_name", "birth_date"), ("given_name", "birth_date"), ("email",),
             ("phone",), ("national_id",), ("given_name", "postcode"), ("family_name", "postcode")]  # fmt: skip
    ((records,),) = connection.execute("select count(*) from records").fetchall()
    if records <= _LOOSE_RECORDS:
        rules += [("birth_date",), ("given_name", "city"), ("family_name", "city")]
    blocks: list[Any] = [block_on(*rule) for rule in rules if all(field in have for field in rule)]
    settings = SettingsCreator(
        link_type="dedupe_only",
        comparisons=[made[field]() for field in have],
        blocking_rules_to_generate_predictions=blocks,
    )
    linker = Linker(DuckDBAPI(connection=connection).register("records"), settings, log_level=logging.ERROR)
    sure: list[Any] = [block_on("given_name", "family_name", "birth_date")]
    if "email" in have:
        sure.append(block_on("email"))
    linker.training.estimate_probability_two_random_records_match(sure, recall=0.7)
    linker.training.estimate_u_using_random_sampling(max_pairs=5e6, seed=1)
    linker.training.estimate_parameters_using_expectation_maximisation(block_on("given_name", "family_name"))
    linker.training.estimate_parameters_using_expectation_maximisation(block_on("birth_date"))
    predicted = linker.inference.predict(threshold_match_probability=min(job["from"], job["threshold"]))
    clustered = linker.clustering.cluster_pairwise_predictions_at_threshold(
        predicted, threshold_match_probability=job["threshold"]
    )
    connection.execute(
        f"copy (select unique_id as record_id, cluster_id as person_id from {clustered.physical_name}) "  # noqa: S608
        f"to '{job['out']}' (header)"
    )
    connection.execute(
        "copy (select unique_id_l as left_id, unique_id_r as right_id, match_probability as probability "  # noqa: S608
        f"from {predicted.physical_name}) to '{job['pairs']}' (header)"
    )


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text("utf-8")))
