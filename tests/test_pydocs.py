"""The embedded collection: from docstrings to documents and queries."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparsemill.data.docstrings import Described, described_objects
from sparsemill.data.pydocs import distinct_pairs, read_pydocs, sample, split_docstring
from sparsemill.errors import UserError

SCRIPT = Path(__file__).parents[1] / "workflow" / "scripts" / "fetch_collection.py"
LONG = "This text says at some length what the object does, so that it has well over fifteen words in it."

TOY = {
    "__init__.py": '''
"""A package."""
from ._hidden import Shape, area
import warnings as _warnings

def __getattr__(name):
    if name == "old":
        _warnings.warn("old is deprecated", DeprecationWarning)
        return area
    raise AttributeError(name)

def __dir__():
    return ["Shape", "area", "old"]
''',
    "_hidden.py": f'''
class Base:
    """Base of every shape.\\n\\n{LONG} base"""
    def scale(self):
        """Make the shape larger.\\n\\n{LONG} scale"""
    def grow(self):
        """Hidden by the subclass.\\n\\n{LONG} grow"""

class Shape(Base):
    """A shape with an area.\\n\\n{LONG} shape"""
    def grow(self):
        """Add to every side.\\n\\n{LONG} own"""
    @property
    def size(self):
        """Size of the shape.\\n\\n{LONG} size"""
    @classmethod
    def unit(cls):
        """Make the unit shape.\\n\\n{LONG} unit"""
    def bare(self): ...
    def _private(self):
        """Nobody sees this.\\n\\n{LONG} private"""

def area(shape):
    """
    Compute the area of a shape.

    {LONG} area
    """
''',
    "deep.py": "from ._hidden import area, Base\nfrom json import dumps\nLIMIT = 3\n",
    "broken.py": "import a_package_that_is_not_installed\n",
    "noisy.py": "import sys, warnings\nprint('out'); print('err', file=sys.stderr); warnings.warn('warned')\n",
    "tests/__init__.py": "raise SystemExit('tests were imported')\n",
    "__main__.py": "raise SystemExit('main was imported')\n",
}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = "sparsemill_toy_package"
    for file, text in TOY.items():
        path = tmp_path / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in [key for key in sys.modules if key.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    return name


def test_public_objects_by_their_shortest_path(
    toy: str, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    found = {entry.path.removeprefix(f"{toy}."): entry.doc for entry in described_objects(toy)}
    assert list(found) == ["Shape", "Shape.grow", "Shape.scale", "Shape.size", "Shape.unit", "area"]
    assert found["area"] == f"Compute the area of a shape.\n\n{LONG} area"
    assert found["Shape.grow"].startswith("Add to every side.")
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_collection_of_the_toy_package(toy: str) -> None:
    source, facts = read_pydocs([toy], split="all", max_queries=2)
    documents, queries = list(source.documents), list(source.queries)
    assert facts == {toy: {"version": "unknown", "found": 6, "documents": 6}}
    assert documents[-1] == (f"{toy}.area", f"{toy}.area", f"{LONG} area")
    assert len(queries) == 2
    assert source.qrels == {"all": [(query.id, query.id.removeprefix("q:"), 1) for query in queries]}


def test_package_that_is_missing_or_named_twice() -> None:
    with pytest.raises(UserError, match="'no_such_package' cannot be imported"):
        read_pydocs(["no_such_package"], split="test")
    with pytest.raises(UserError, match="names 'json' twice"):
        read_pydocs(["json", "json"], split="test")


@pytest.mark.parametrize(
    ("doc", "query"),
    [
        (f"Sum of\n  two numbers.\n\n{LONG}", "Sum of two numbers."),
        (
            f"add(x1, x2, /, out=None,\n    where=True)\n\nAdd arguments element-wise.\n\n{LONG}",
            "Add arguments element-wise.",
        ),
        (f"f(a) -> int\n\nf(a, b) -> int\n\nReturn an integer number.\n\n{LONG}", "Return an integer number."),
        (
            f"Like :func:`~toy.Shape.area`, `x` and ``y``, see :ref:`the guide <g>` [1]_.\n\n{LONG}",
            "Like toy.Shape.area, x and y, see the guide.",
        ),
    ],
)
def test_first_paragraph_is_the_query(doc: str, query: str) -> None:
    assert split_docstring(doc) == (query, LONG)


@pytest.mark.parametrize(
    "doc",
    [
        "One paragraph only, which is long enough to be a document if it were asked to be one, but it is not.",
        f"Too short.\n\n{LONG}",
        "The rest is too short.\n\nOnly four words here.",
        f"Compute the old thing.\n\n.. deprecated:: 1.2\n   Use another.\n\n{LONG}",
        f"DEPRECATED: use the other one.\n\n{LONG}",
        f".. note:: this is no sentence\n\n{LONG}",
        f"A heading stands here\n=====================\n\n{LONG}",
        "f(x)\n\ng(x)",
    ],
)
def test_docstrings_that_are_no_document(doc: str) -> None:
    assert split_docstring(doc) is None


def test_deprecated_parameter_does_not_matter() -> None:
    doc = f"Compute a new thing.\n\n{LONG}\n\nx : int\n    .. deprecated:: 1.2"
    assert split_docstring(doc) is not None


def test_what_changes_from_run_to_run_is_taken_out() -> None:
    doc = f"""Draw a random sample.

{LONG}

>>> x.sample()  # doctest: +SKIP
array([1., 2.,
       3.])  # may vary
>>> x
<function x at 0x7f00deadbeef>
>>> 1 + 1
2"""
    parts = split_docstring(doc)
    assert parts == ("Draw a random sample.", f"{LONG}\n\n>>> x.sample()\n>>> x\n>>> 1 + 1\n2")


def test_of_equal_texts_or_queries_the_first_is_kept() -> None:
    entries = [
        Described("p.d", f"Another first paragraph.\n\n{LONG}"),
        Described("p.c", f"the first paragraph\n\n{LONG} c"),
        Described("p.b", f"The first paragraph.\n\n{LONG}"),
        Described("p.e", f"Yet another paragraph.\n\n{LONG} e"),
    ]
    assert [document.id for document, _ in distinct_pairs(entries)] == ["p.b", "p.e"]


def test_sample_is_proportional_nested_and_independent_of_order() -> None:
    found = {"a": [f"a.{n}" for n in range(70)], "b": [f"b.{n}" for n in range(20)], "c": [f"c.{n}" for n in range(7)]}
    # 10 * 70 / 97 = 7.2, 10 * 20 / 97 = 2.06, 10 * 7 / 97 = 0.7: the one left over goes to c
    kept = sample(found, 10)
    assert [sum(item.startswith(name) for item in kept) for name in "abc"] == [7, 2, 1]
    assert kept == sample({name: ids[::-1] for name, ids in found.items()}, 10)
    assert kept < sample(found, 20)
    assert len(sample(found, None)) == len(sample(found, 97)) == 97


def test_real_packages_give_the_same_collection_in_every_process(tmp_path: Path) -> None:
    spec = {"kind": "pydocs", "packages": ["scipy"], "split": "test", "counts": {}}
    manifests = []
    for seed in ("1", "2"):
        limits = {"max_documents": None, "max_queries": 100}
        command = [sys.executable, str(SCRIPT), "--spec", json.dumps(spec | limits), "--out", str(tmp_path / seed)]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert done.stdout == ""
        assert done.stderr == f"> fetch_collection: {tmp_path / seed}\n"
        manifests.append(json.loads((tmp_path / seed / "manifest.json").read_text()))
    assert manifests[0]["outputs"] == manifests[1]["outputs"]
    facts = manifests[0]["facts"]
    assert facts["documents"] > 1000
    assert facts["queries"] == {"test": 100}
