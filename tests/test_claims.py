"""Claims: orderings judged by a paired test, along curves at equal cost; and what `verify` makes of verdicts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from configs import load, told
from scipy import stats

from sparsemill import verify
from sparsemill.errors import UserError
from sparsemill.evaluation.claims import Point, differences, judge_all, judge_claim
from sparsemill.files import write_json
from sparsemill.study import edges, plan, specs
from sparsemill.study.load import load_study
from sparsemill.study.models import Claim, Study
from sparsemill.study.targets import overlays
from sparsemill.study.verdicts import due_claims

CONFIG = Path(__file__).resolve().parent.parent / "config"


def point(cost: float, *values: float) -> Point:
    return Point(cost, {f"q{number}": value for number, value in enumerate(values)})


def overlay(name: str) -> Study:
    content: dict[str, Any] = yaml.safe_load((CONFIG / "overlays" / f"{name}.yaml").read_text())
    return load_study(content, CONFIG)


def test_curves_are_compared_where_both_have_costs() -> None:
    # Better is 0.2 + 0.1 cost (query 0) and 0.4 (query 1) on [1, 3]; worse is 0.1 cost and 0.3 on [2, 4].
    better = [point(3, 0.5, 0.4), point(1, 0.3, 0.4)]
    worse = [point(2, 0.2, 0.3), point(4, 0.4, 0.3)]
    found = differences(better, worse)
    assert found is not None
    values, costs = found
    assert costs == (2, 3)
    np.testing.assert_allclose(values, [0.2, 0.1])


def test_a_bend_is_followed() -> None:
    # 0 at 0, 1 at 1, 0 at 2: the mean over [0, 2] is 0.5 up to the grid; a lone point at 1 is its value there.
    bent = [point(0, 0.0, 0.0), point(1, 1.0, 1.0), point(2, 0.0, 0.0)]
    flat = [point(0, 0.0, 0.0), point(2, 0.0, 0.0)]
    along = differences(bent, flat)
    assert along is not None
    assert along[0] == pytest.approx(10 / 21)  # 21 costs, of which the bent curve sums to 10
    single = differences([point(1, 0.5, 0.25)], bent)
    assert single is not None
    np.testing.assert_allclose(single[0], [-0.5, -0.75])


def test_verdicts_follow_the_paired_test() -> None:
    random = np.random.default_rng(0)
    base = random.uniform(size=200)
    better, same = base + 0.05 + random.normal(scale=0.1, size=200), base + random.normal(scale=0.1, size=200)
    sides = [[point(0, *values)] for values in (better, base, same)]
    difference, p, _, verdict = judge_claim(sides[0], sides[1], alpha=0.05)
    expected = stats.ttest_rel(better, base)
    assert (difference, p) == pytest.approx((float((better - base).mean()), float(expected.pvalue)))
    assert verdict == "ok"
    assert judge_claim(sides[1], sides[0], alpha=0.05)[3] == "fail"
    assert judge_claim(sides[2], sides[1], alpha=1e-6)[3] == "near"
    assert judge_claim([point(1, 1.0, 0.9)], [point(2, 0.1, 0.2)], alpha=0.05) == (None, None, None, "near")


def test_different_queries_and_missing_values_are_told() -> None:
    with pytest.raises(UserError, match="different queries"):
        differences([point(0, 1.0)], [point(0, 1.0, 0.5)])
    claim = Claim(claim="c", better=["x"], worse=["y"], collection="d", source="s")
    with pytest.raises(UserError, match=r"claims\.n: no values of x on d"):
        judge_all({"n": claim}, {"nDCG@10": {}}, {})


def test_due_claims_run_nothing_and_write_sweeps_out() -> None:
    papers = overlay("papers_demo")
    claims = due_claims(papers)
    curve = claims["idf-at-equal-flops"]
    assert curve.better[0] == "ours"
    assert len(curve.better) == 8
    assert curve.worse[0] == "ours-without-idf"
    assert len(curve.worse) == 6
    assert {
        "normalised",
        "heterogeneous-dense",
        "distillation",
        "mined-negatives-self",
        "cocondenser-self",
    } <= claims.keys()
    assert set(plan.judged_evaluations(papers)) <= set(plan.evaluations(papers))
    demo = load_study({}, CONFIG)
    assert sorted(due_claims(demo)) == ["idf-with-pre-training", "idf-without-pre-training", "pre-training"]
    assert "evaluations" in edges.upstream(demo, "expected")


def test_a_claim_about_curves_says_at_which_cost() -> None:
    claim = {"claim": "c", "better": ["ours", "doc-distill"], "worse": ["bm25"], "collection": "pydocs", "source": "s"}
    with pytest.raises(UserError, match="say in `equal`"):
        load_study({"claims": {"mine": claim}}, CONFIG)


CLAIM = {"claim": "c", "better": ["ours"], "worse": ["doc-distill"], "collection": "pydocs", "source": "s"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"better": ["ourz"]}, "config: claims.mine.better: no system or sweep 'ourz'; did you mean 'ours'?"),
        (
            {"worse": ["figure-33"]},
            "config: claims.mine.worse: no system or sweep 'figure-33'; did you mean 'figure-3'?",
        ),
        ({"worse": ["nosweep--steps-9"]}, "config: claims.mine.worse: no system or sweep 'nosweep--steps-9'; "),
        (
            {"collection": "pydoc"},
            "config: claims.mine.collection: no collection or group 'pydoc'; did you mean 'pydocs'?",
        ),
        ({"measure": "nDGC@10"}, "config: claims.mine.measure: 'nDGC@10' is no measure of runs; valid: "),
        ({"measure": "FLOPS"}, "config: claims.mine.measure: 'FLOPS' is no measure of runs; valid: "),
        ({"equal": "FLOP"}, "config: claims.mine.equal: no cost 'FLOP'; did you mean 'FLOPS'? (costs: "),
        (
            {"measure": "P@7"},
            "config: claims.mine.measure: P@7 is not among `measures`, so no run is evaluated with it",
        ),
    ],
)
def test_a_claim_that_nothing_could_answer_is_refused(keys: dict[str, Any], message: str) -> None:
    assert told(claims={"mine": CLAIM | keys}).startswith(message)


@pytest.mark.parametrize(
    "keys",
    [
        {"better": ["splade"]},  # of a preset that is not loaded
        {"better": ["pre-idf-swept"]},  # not at this scale
        {"better": ["figure-3"], "equal": "lucene:p50_ms@10"},  # a sweep that is not chosen
        {"better": ["figure-3--lambda_d-0.2"], "measure": "P@7"},  # a point of it; so nothing is judged
        {"collection": "beir-13"},  # measured by nothing here
        {"measure": "MAP"},
    ],
)
def test_a_claim_may_wait_for_what_is_not_here(keys: dict[str, Any]) -> None:
    absent = {"pre-idf-swept": {"extends": "ours", "scales": {"demo": None}}}
    study = load(claims={"mine": CLAIM | keys}, experiments=absent)
    assert ("mine" in due_claims(study)) == (study.claims["mine"].measure == "AP")


def test_verify_fails_where_a_verdict_fails_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify.main([str(tmp_path)]) == 2
    assert "no verdicts" in capsys.readouterr().err
    (tmp_path / "expected").mkdir()
    value = {"system": "x", "collection": "c", "measure": "AP", "expected": 0.5, "tolerance": 0.1, "source": "here"}
    passing = {**value, "tier": "retrained", "value": 0.5, "verdict": "ok"}
    claim = {"name": "n", "claim": "A beats B", "source": "s", "collection": "c", "measure": "AP", "difference": 0.1}
    claim |= {"p": 0.01, "costs": [1.0, 2.0], "verdict": "ok"}
    path = tmp_path / "expected" / "verdicts.json"
    write_json(path, {"verdicts": [passing], "claims": [claim]})
    assert verify.main([str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "Retrained models" in told
    assert "ok      A beats B: +0.1000 (p = 0.01) AP on c at 1 to 2 [s]" in told
    write_json(path, {"verdicts": [passing], "claims": [{**claim, "verdict": "fail"}]})
    before = path.read_bytes()
    assert verify.main([str(tmp_path)]) == 1
    assert path.read_bytes() == before
    assert verify.main([str(tmp_path), "--none-due"]) == 2
    assert "2 verdicts, 1 of them failing." in capsys.readouterr().out


# --- targets -----------------------------------------------------------------------------------------------------


def test_targets_bring_their_config() -> None:
    def names(*words: str, scale: str = "demo") -> list[str]:
        return [path.relative_to(CONFIG).as_posix() for path in overlays(words, scale, CONFIG)]

    assert names("all") == []
    assert names("--cores", "2", "paper_splade_pp", scale="one-gpu") == [
        "overlays/papers_one_gpu.yaml",
        "targets/paper_splade_pp.yaml",
    ]
    assert names("tables_demo") == ["overlays/papers_demo.yaml"]
    assert names("paper_splade_pp", "paper_inference_free") == ["overlays/papers_demo.yaml"]
    with pytest.raises(UserError, match=r"^tables_demo is of scale demo, not paper; leave `scale` out, or name"):
        names("tables_demo", scale="paper")


@pytest.mark.parametrize("scale", ["demo", "one-gpu", "paper"])
@pytest.mark.parametrize("target", ["paper_inference_free", "paper_splade_pp"])
def test_a_papers_target_makes_its_tables_alone(target: str, scale: str) -> None:
    config: dict[str, Any] = {"scale": scale}
    for path in overlays([target], scale, CONFIG):
        config |= yaml.safe_load(path.read_text())
    study = load_study(config, CONFIG)
    assert study.tables
    assert {table.paper for table in study.tables.values()} == {config["paper"]}
    for table in study.tables:
        assert specs.render_table(study, table)["published"]["cells"]
        specs.test_significance(study, table)
    pages = ("collection_pages", "pages")
    assert plan.of_paper(study, config["paper"]) == [
        key for key in plan.results(study) if key.split("/")[0] not in pages
    ]
    specs.check_expected(study)
    specs.publish(study)  # without the tables of sweeps


def test_a_paper_without_tables_is_refused() -> None:
    with pytest.raises(UserError, match="no table or figure of '1234'"):
        load_study({"paper": "1234"}, CONFIG)
