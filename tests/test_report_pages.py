"""The report's own pages: costs, provenance, collections, front; and which queries are extreme."""

import re
from typing import Any

from configs import load
from docutils.core import publish_parts
from jinja2 import Environment

from sparsemill.data.collection import Query
from sparsemill.study.pages import report_pages
from sparsemill.tables import collection_page, cost_page, provenance_page
from sparsemill.tables.explain import extreme_queries
from sparsemill.tables.front_page import Page, front
from sparsemill.tables.tidy import Record, to_frame


def manifest(key: str, stage: str, seconds: float, **changes: Any) -> dict[str, Any]:
    described = {
        "key": key,
        "stage": stage,
        "content": f"c-{key}",
        "spec": {"measure": "<b>"},
        "spec_hash": "s",
        "inputs": {},
        "outputs": {"a.bin": {"bytes": 3 * 2**20, "sha256": "0" * 64}},
        "git_commit": "abc",
        "git_dirty": False,
        "host": "here",
        "device": "cpu",
        "versions": {"torch": "2.13.0"},
        "created": "2026-01-01T00:00:00+00:00",
        "wall_seconds": seconds,
        "peak_memory_mib": 1500,
        "invocation": "",
    }
    return described | changes


MANIFESTS = [
    manifest("collections/a", "fetch", 2.0),
    manifest("models/x/seed-0", "finetune", 60.0, inputs={"collection": "c-collections/a", "other": "gone"}),
    manifest("models/x/seed-1", "finetune", 70.4, device="cuda", peak_memory_mib=2500, git_dirty=True),
]


def test_costs_by_stage_the_most_expensive_first() -> None:
    first, second = cost_page.costs(MANIFESTS)
    assert first == ("finetune", 2, 130.4, 70.4, 2500, 6 * 2**20, ("cpu", "cuda"))
    assert (second.stage, second.seconds) == ("fetch", 2.0)
    text = cost_page.page(MANIFESTS)
    assert "2 min 10 s" in text
    assert "2,500 MiB" in text
    assert "6.0 MiB" in text


def test_durations_and_sizes() -> None:
    found = [cost_page.duration(seconds) for seconds in (0.04, 9.94, 9.96, 59.4, 60, 3599.6, 7800)]
    assert found == ["0.0 s", "9.9 s", "10 s", "59 s", "1 min 00 s", "1 h 00 min", "2 h 10 min"]
    assert [cost_page.size(count) for count in (512, 2**20, 3 * 2**30)] == ["0.5 KiB", "1.0 MiB", "3.0 GiB"]


def test_provenance_links_inputs_and_warns() -> None:
    text = provenance_page.page(MANIFESTS)
    assert '<a href="#collections/a"><code>collections/a</code></a>' in text
    assert 'id="collections/a"' in text
    assert "uncommitted changes" in text
    assert "come from 2 states of the code" in text
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert "come from" not in provenance_page.page(MANIFESTS[:1])


def test_names_that_are_alike_have_places_of_their_own() -> None:
    keys = ["targets/a-b/c", "targets/a/b-c", "targets/a.b/c"]
    text = provenance_page.page([manifest(key, "aggregate", 1.0) for key in keys])
    assert len(set(re.findall(r' id="(.*?)"', text))) == len(keys)


def record(system: str, seed: int | None, engine: str, measure: str, value: float, collection: str = "a") -> Record:
    variant = "fixed" if seed is None else f"seed-{seed}"
    return Record(system, variant, seed, collection, engine, measure, value, 5, "k")


def test_a_collections_page_has_every_system_the_best_first() -> None:
    records = [
        record("bm25", None, "lucene", "nDCG@10", 0.5),
        record("x", 0, "lucene", "nDCG@10", 0.6),
        record("x", 1, "lucene", "nDCG@10", 0.8),
        record("x", 0, "exact", "nDCG@10", 0.9),
        record("x", 0, "", "FLOPS", 1.5),
        record("x", 0, "", "tokens/query", 0.00123456),
        record("x", 1, "", "tokens/query", 0.00123556),
        record("x", 0, "", "postings", 210447.0),
        record("bm25", None, "", "postings", 900.0),
        record("bm25", None, "", "postings/query", 12345.678),
        record("x", 0, "lucene", "nDCG@10", 0.111, collection="b"),
    ]
    text = collection_page.page(
        to_frame(records), "a", engines={"bm25": "lucene", "x": "lucene"}, labels={"x": "Ours <i>"}, facts=["A fact."]
    )
    assert text.index("Ours &lt;i&gt;") < text.index("bm25")
    assert "0.700 ± 0.141" in text
    assert "0.900" in text  # the other engine
    assert "0.111" not in text
    assert "1.50" in text
    assert ">210,447<" in text
    assert ">900<" in text
    assert ">12,346<" in text
    assert ">0.00124 ± 0.00000<" in text


def test_the_front_page_is_valid_and_means_what_it_says() -> None:
    expected = {"tier": "expected", "collection": "a", "measure": "nDCG@10", "expected": 0.5, "tolerance": 0.02}
    claim = {"collection": "a", "measure": "nDCG@10", "source": "Table 1"}
    verdicts = [
        expected | {"verdict": "ok", "system": "bm25", "value": 0.51, "source": "{{ 1 + 1 }} *Table_ 2*::"},
        expected | {"verdict": "fail", "system": "<x>", "value": None, "tier": "retrained", "source": "1. `a`"},
        claim | {"verdict": "ok", "claim": "More beats less", "difference": 0.0123, "p": 0.0021},
        claim | {"verdict": "near", "claim": "Less beats none", "difference": None, "p": None},
    ]
    pages = [Page("Tables", "A_ {% b %} <c>", "results/tables/a b/table.html"), Page("About", "Cost", "c.html")]
    source = front("Results", verdicts, pages, ["A fact_ (x)."])
    rendered = Environment(autoescape=True).from_string(source).render()
    html = publish_parts(rendered, writer_name="html", settings_overrides={"halt_level": 2})["html_body"]
    assert "1 fail, 1 near, 2 ok" in html
    assert "&lt;x&gt;: nDCG&#64;10 on a (retrained)" in html
    assert "0.5 ± 0.02" in html
    assert html.index("Less beats none") < html.index("More beats less")
    assert "+0.0123 nDCG&#64;10 on a" in html
    assert html.index("&lt;x&gt;") < html.index("bm25")
    assert "{{ 1 + 1 }} *Table_ 2*::" in html
    shown = "javascript:app.setView({content:'html',contentPath:results['results/tables/a%20b/table.html'].data_uri})"
    assert shown in html
    assert "A_ {% b %} &lt;c&gt;" in html
    assert "No value is expected" in front("Results", [], [], [])


def test_a_page_without_a_caption_is_called_by_its_name() -> None:
    column = {"measure": "nDCG@10", "collection": "pydocs"}
    table = {"caption": "", "rows": [{"system": "bm25"}], "columns": [column]}
    figure = {"kind": "tradeoff", "caption": "", "collection": "pydocs", "systems": ["bm25"]}
    pages = report_pages(load(tables={"bare": table}, figures={"plain": figure}))["pages"]
    titles = {title for _, title, _ in pages}
    assert {"bare", "plain"} <= titles
    assert "" not in titles


def test_extreme_queries() -> None:
    queries = [Query(name, "") for name in "abcdef"]
    ours = {"a": 1.0, "b": 0.5, "c": 0.0, "d": 0.2, "e": 0.3}
    theirs = {"a": 0.2, "b": 0.4, "c": 0.9, "d": 0.2, "e": 0.4}
    found = extreme_queries(queries, [ours, theirs], count=3, measure="nDCG@10")
    assert list(found) == ["a", "b", "c"]  # f is not judged
    assert found["c"] == "nDCG@10 0.000 against 0.900 (-0.900)"
    assert list(extreme_queries(queries, [ours], count=2, measure="M")) == ["a", "c"]
    assert sorted(extreme_queries(queries, [ours, theirs], count=99, measure="M")) == list("abcde")
