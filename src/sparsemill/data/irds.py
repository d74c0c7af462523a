"""Collections of ir_datasets, by id."""

import logging
from collections.abc import Iterator
from typing import Any

import ir_datasets

from sparsemill.data.checks import check_split
from sparsemill.data.collection import Document, Qrel, Query, Source
from sparsemill.errors import UserError

logger = logging.getLogger(__name__)


def read_ir_datasets(name: str, *, split: str) -> Source:
    """Read a data set of ir_datasets: its documents and every split that has judgements.

    Splits are the subsets one level below `name` (`beir/scifact/test` is `test`), and `split` itself where it lies
    deeper. A set that carries its own judgements (`beir/arguana`) has the split `test`.

    Args:
        name: id of the set that has the documents, for example `beir/scifact`.
        split: must be among the splits.

    Raises:
        UserError: the id is unknown, the split is missing, or the files cannot be downloaded.
    """
    whole = load(name)
    if not whole.has_docs():
        raise UserError(f"ir_datasets {name!r} has no documents; give the id of the set that has them")
    subsets = judged_subsets(name, split)
    check_split(f"ir_datasets {name!r}", split, subsets)
    try:
        # The whole set first, where it has queries: its order is that of the original file.
        asked = [part for part in (whole, *subsets.values()) if part.has_queries()]
        queries = {query.query_id: query for part in asked for query in part.queries_iter()}
        qrels = {key: [Qrel(*_judgement(row)) for row in part.qrels_iter()] for key, part in subsets.items()}
    except OSError as error:
        raise _unavailable(name, error) from None
    judged = {qrel.query_id for rows in qrels.values() for qrel in rows}
    kept = (Query(query.query_id, query.default_text()) for query in queries.values() if query.query_id in judged)
    return Source(_documents(whole, name), kept, qrels)


def load(name: str) -> Any:
    """A data set of ir_datasets, without a download.

    Raises:
        UserError: the id is unknown.
    """
    try:
        return ir_datasets.load(name)
    except KeyError:
        raise UserError(f"ir_datasets has no data set {name!r}; see https://ir-datasets.com for the ids") from None


def judged_subsets(name: str, split: str) -> dict[str, Any]:
    """The splits of a set, as `read_ir_datasets` describes them: name -> data set of ir_datasets."""
    below = [key.removeprefix(f"{name}/") for key in ir_datasets.registry if key.startswith(f"{name}/")]
    parts = {key: load(f"{name}/{key}") for key in sorted(below) if "/" not in key or key == split}
    subsets = {key: part for key, part in parts.items() if part.has_qrels() and part.has_queries()}
    whole = load(name)
    if whole.has_qrels() and (not subsets or (split == "test" and split not in subsets)):
        return {**subsets, "test": whole}
    return subsets


def _judgement(row: Any) -> tuple[str, str, int]:
    return row.query_id, row.doc_id, row.relevance


def _documents(whole: Any, name: str) -> Iterator[Document]:
    try:
        for row in whole.docs_iter():
            if hasattr(row, "text"):
                yield Document(row.doc_id, getattr(row, "title", None) or "", row.text)
            else:
                yield Document(row.doc_id, "", row.default_text())
    except OSError as error:
        raise _unavailable(name, error) from None


def _unavailable(name: str, error: OSError) -> UserError:
    logger.info("ir_datasets %s: %r", name, error)
    return UserError(
        f"ir_datasets {name!r}: cannot read or download its files ({type(error).__name__}); connect to the "
        f"network, or put the archive into IR_DATASETS_HOME (for BEIR: beir/NAME/source.zip), or use a beir_folder"
    )
