"""What a study's runs are for, as their sidecars say it."""

from typing import Any

from sparsemill.study.models import Study


def research_goal(study: Study) -> dict[str, Any]:
    """Measures, papers and tests of the tables, and the baselines of every system that is compared."""
    baselines: dict[str, list[str]] = {}
    for table in study.tables.values():
        for row in table.rows:
            if row.system and row.compare:
                known = baselines.setdefault(row.system, [])
                known += [name for name in row.compare if name not in known]
    compared = [table for table in study.tables.values() if any(row.compare for row in table.rows)]
    return {
        "measures": study.measures,
        "papers": sorted({table.paper for table in study.tables.values() if table.paper}),
        "tests": sorted({table.test for table in compared}),
        "baselines": baselines,
    }
