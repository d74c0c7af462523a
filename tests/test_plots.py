"""Figures: their data, label placement, and bytes that do not change."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text
from scipy import sparse

from sparsemill.errors import UserError
from sparsemill.retrieval.vectors import Shard, write_shard
from sparsemill.study.models import Figure
from sparsemill.tables import plots
from sparsemill.tables.activation import sample_documents, telling_tokens, token_use
from sparsemill.tables.activation_plot import activation
from sparsemill.tables.placement import Anchor, place_labels, spread
from sparsemill.tables.plot_style import save
from sparsemill.tables.tidy import Record, to_frame

SYSTEMS = ["bm25", "s--lambda_d-0.1", "s--lambda_d-1", "dense", "absent"]
FIGURE = Figure(kind="tradeoff", caption="c", collection="c", systems=SYSTEMS)
ENGINES = dict.fromkeys(SYSTEMS, "lucene")


def value(system: str, measure: str, number: float, seed: int | None = None) -> Record:
    variant = "fixed" if seed is None else f"seed-{seed}"
    engine = "" if measure == "FLOPS" else "lucene"
    return Record(system, variant, seed, "c", engine, measure, number, 5, "key")


FRAME = to_frame(
    [
        value("bm25", "nDCG@10", 0.4),
        value("bm25", "FLOPS", 1.0),
        value("s--lambda_d-0.1", "nDCG@10", 0.5, 0),
        value("s--lambda_d-0.1", "nDCG@10", 0.6, 1),
        value("s--lambda_d-0.1", "FLOPS", 3.0, 0),
        value("s--lambda_d-0.1", "FLOPS", 5.0, 1),
        value("s--lambda_d-1", "nDCG@10", 0.5, 0),
        value("s--lambda_d-1", "FLOPS", 2.0, 0),
        value("dense", "nDCG@10", 0.7),
    ]
)


def test_points_are_means_over_seeds_in_the_figures_order() -> None:
    found = {point.system: point for point in plots.points(FIGURE, FRAME, engines=ENGINES)}
    assert list(found) == SYSTEMS[:4]
    first = found["s--lambda_d-0.1"]
    assert (first.x, first.y) == (pytest.approx(4), pytest.approx(0.55))
    assert (first.x_std, first.y_std) == (pytest.approx(2**0.5), pytest.approx(0.1 / 2**0.5))
    assert found["dense"].x is None


def test_members_of_a_sweep_are_one_curve() -> None:
    found = plots.curves(plots.points(FIGURE, FRAME, engines=ENGINES))
    assert [[point.system for point in group] for group in found] == [["bm25"], SYSTEMS[1:3]]


@pytest.mark.parametrize(("values", "style"), [(("0.1", "1e-05"), "-"), (("minilm", "minilm-bm25"), "None")])
def test_only_values_that_are_numbers_are_joined(values: tuple[str, str], style: str) -> None:
    systems = [f"s--key-{value}" for value in values]
    records = [
        value(system, measure, 0.5 + place) for place, system in enumerate(systems) for measure in ("nDCG@10", "FLOPS")
    ]
    figure = FIGURE.model_copy(update={"systems": systems})
    drawn = plots.tradeoff(figure, to_frame(records), engines=dict.fromkeys(systems, "lucene"))
    assert [line.get_linestyle() for line in drawn.axes[0].lines if line.get_marker() == "o"] == [style]
    plt.close(drawn)


def test_a_figure_without_a_value_is_refused() -> None:
    with pytest.raises(UserError, match="none of its systems has a AP"):
        plots.points(FIGURE.model_copy(update={"y": "AP"}), FRAME, engines=ENGINES)


def test_the_base_of_a_sweep_is_a_point_of_its_curve_in_its_place() -> None:
    figure = FIGURE.model_copy(update={"systems": ["bm25", "s--lambda_d-1", "s--lambda_d-0.1"]})
    drawn = plots.tradeoff(figure, FRAME, engines=ENGINES, bases={"bm25": "s--lambda_d-0.5"})
    assert {text.get_text() for text in drawn.axes[0].texts} == {"0.1", "0.5", "1"}
    (curve,) = [line for line in drawn.axes[0].lines if line.get_marker() == "o"]
    assert curve.get_xdata().tolist() == [4.0, 1.0, 2.0]
    plt.close(drawn)


def test_a_member_of_a_curve_is_named_by_its_value_alone() -> None:
    labels = {"s--lambda_d-0.1": "lambda_d-0.1", "ours": "Ours"}
    assert plots._label("s--lambda_d-0.1", labels, in_curve=True) == "0.1"
    assert plots._label("s--lambda_d-0.1", labels, in_curve=False) == "lambda_d-0.1"
    assert plots._label("ours", labels, in_curve=False) == "Ours"
    assert plots._label("bm25", labels, in_curve=False) == "bm25"


def test_a_curve_is_named_by_what_its_members_share() -> None:
    assert plots._curve_label("s--lambda_d-1", {}) == "s: lambda_d"
    assert plots._curve_label("s--scale-10--temperature-2", {}) == "scale-10: temperature"
    assert plots._curve_label("s--a-1--b-2--c-3", {}) == "a-1, b-2: c"
    assert plots._curve_label("s--scale-10--temperature-2", {"s--scale-10": "S = 10"}) == "S = 10: temperature"


def test_the_tradeoff_names_everything_it_shows_and_its_bytes_do_not_change(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        figure = plots.tradeoff(FIGURE, FRAME, engines=ENGINES, labels={"bm25": "BM25"})
        texts = {text.get_text() for text in figure.axes[0].texts}
        save(figure, folder)
        assert texts == {"BM25", "0.1", "1", "dense"}
        assert figure.axes[0].get_legend().get_texts()[0].get_text() == "s: lambda_d"
        files.append([(folder / "figure.svg").read_bytes(), (folder / "figure.png").read_bytes()])
    assert files[0] == files[1]
    assert not plt.get_fignums()


def test_dollars_in_a_label_are_dollars(tmp_path: Path) -> None:
    labels = {"bm25": "between $1 and $2", "dense": r"$\price$"}
    figure = plots.tradeoff(FIGURE, FRAME, engines=ENGINES, labels=labels)
    assert not [text for text in figure.axes[0].texts if text.get_parse_math()]
    save(figure, tmp_path)
    assert (tmp_path / "figure.svg").exists()


def test_labels_do_not_overlap() -> None:
    canvas, axes = plt.subplots()
    random = np.random.default_rng(0)
    spots = random.normal(0.5, 0.12, size=(12, 2))
    axes.set(xlim=(0, 1), ylim=(0, 1))
    place_labels(axes, [Anchor(float(x), float(y), f"label {n}", "k") for n, (x, y) in enumerate(spots)])
    canvas.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # an Annotation's own includes its leader
    plt.close(canvas)
    assert len(boxes) == 12
    overlapping = sum(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[:n])
    assert overlapping == 0


def test_spread_keeps_order_and_distance() -> None:
    assert spread([1.0, 5.0], gap=1) == [1.0, 5.0]
    assert spread([2.0, 2.0], gap=1) == pytest.approx([1.5, 2.5])
    assert spread([3.0, 1.0, 3.0], gap=0.5) == pytest.approx([2.75, 1.0, 3.25])
    assert spread([0.0, 0.25, 0.5], gap=1) == pytest.approx([-0.75, 0.25, 1.25])
    assert spread([], gap=1) == []


# Documents x tokens: a stop word in all of them, weak; a topic word in half, strong; a rare word; one never active.
VOCABULARY = ["[PAD]", "this", "graph", "rarely"]
BATCH = sparse.csr_matrix(
    np.array([[0, 0.1, 2, 0], [0, 0.1, 2, 0], [0, 0.1, 0, 0.3], [0, 0.1, 0, 0]], dtype=np.float32)
)


def test_percentiles_by_hand() -> None:
    use = token_use(BATCH, VOCABULARY)
    assert use.tokens == ["this", "graph", "rarely"]
    assert use.share == pytest.approx([1, 0.5, 0.25])
    assert use.activation == pytest.approx([100 * 2.5 / 3, 100 * 1.5 / 3, 100 * 0.5 / 3])
    # Squared means over four documents: 0.1^2, 1^2, 0.075^2.
    assert use.penalty == pytest.approx([100 * 1.5 / 3, 100 * 2.5 / 3, 100 * 0.5 / 3])
    assert telling_tokens(use) == (["this"], ["graph", "rarely"])
    assert telling_tokens(use, count=1) == (["this"], ["graph"])


def test_a_collapsed_model_is_refused() -> None:
    with pytest.raises(UserError, match="collapsed"):
        token_use(sparse.csr_matrix((3, 4), dtype=np.float32), VOCABULARY)
    with pytest.raises(UserError, match="vectors have 4 tokens, the tokenizer 3"):
        token_use(BATCH, VOCABULARY[:3])


def test_the_batch_does_not_depend_on_shards(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    matrix = sparse.random(50, 9, density=0.5, format="csr", dtype=np.float32, random_state=random)
    ids = [f"doc {number}" for number in range(50)]
    whole, first, second = tmp_path / "whole", tmp_path / "first", tmp_path / "second"
    for folder, part in ((whole, slice(0, 50)), (first, slice(0, 20)), (second, slice(20, 50))):
        folder.mkdir()
        write_shard(folder, Shard(ids[part], matrix[part]))
    one, two = sample_documents([whole], count=12), sample_documents([first, second], count=12)
    assert one.shape == (12, 9)
    assert (one != two).nnz == 0
    assert sample_documents([whole]).shape == (50, 9)


def test_activation_has_a_panel_for_each_system_and_lists_what_is_never_active(tmp_path: Path) -> None:
    without_stop_words = BATCH.copy()
    without_stop_words[:, 1] = 0
    without_stop_words.eliminate_zeros()
    panels = [("A", token_use(BATCH, VOCABULARY)), ("B", token_use(without_stop_words, VOCABULARY))]
    figure = activation(panels)
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    save(figure, tmp_path)
    assert {"this", "graph", "rarely"} <= set(texts[0])
    assert "never active: this" in texts[1]
    assert (tmp_path / "figure.png").stat().st_size > 1000
