"""Whole evaluation of a saved retriever on a BEIR-style folder: sentence-transformers against sparsemill.

Both sides open the same retriever and the same files, encode the corpus and the queries, search and evaluate.
sentence-transformers runs its `SparseInformationRetrievalEvaluator`; ours are the functions that the stages
fetch_collection, encode_corpus, build_index, search and evaluate_run call, with the exact engine. Each repetition runs
in a process of its own, by turns, with the malloc settings of the pipeline's jobs on both sides; libraries are imported
before it is timed. nDCG@10 must agree to 1e-4, in bf16 to 2e-3: their document model then has weights of that type, as
in encode.py.
"""

import argparse
import datetime
import json
import multiprocessing
import shlex
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from compare import OURS, RESULTS, THEIRS, machine
from memory import resident_peak
from sentence_transformers.sparse_encoder import SparseEncoder
from sentence_transformers.sparse_encoder.evaluation import SparseInformationRetrievalEvaluator

from sparsemill.data.beir import read_beir
from sparsemill.data.collection import Document, Qrel, Query
from sparsemill.evaluation.measures import evaluate
from sparsemill.files import read_json
from sparsemill.job import limit_threads
from sparsemill.malloc import keep_freed_memory
from sparsemill.models.encode import encode_texts, load_encoder
from sparsemill.retrieval.exact import build_exact
from sparsemill.retrieval.queries import open_queries
from sparsemill.retrieval.retriever import open_search, retrieve
from sparsemill.retrieval.vectors import Shard, write_shard

MEASURE, DEPTH = "nDCG@10", 1000
MEASURES = [MEASURE, "MRR@10", "R@100", "R@1000", "AP"]
TOLERANCE = {"fp32": 1e-4, "bf16": 2e-3}


class Task(NamedTuple):
    """What both sides run.

    Attributes:
        retriever: what training wrote; it has a table of query weights.
        collection: BEIR-style folder.
        split: its judgements.
        documents: of the corpus: all that are judged, and the first others (None: all).
        length: tokens kept of a document.
        tokens: our bound on the padded tokens of a batch.
        threads: of torch.
        precision: of the document model's products, `fp32` or `bf16`.
    """

    retriever: Path
    collection: Path
    split: str
    documents: int | None
    length: int
    tokens: int
    threads: int
    precision: str


def read(task: Task) -> tuple[list[Document], list[Query], list[Qrel]]:
    """Documents, and the queries that the split judges."""
    source = read_beir(task.collection, split=task.split)
    documents, qrels = list(source.documents), list(source.qrels[task.split])
    if task.documents is not None:
        judged = {qrel.doc_id for qrel in qrels}
        others = (document.id for document in documents if document.id not in judged)
        kept = judged | set(islice(others, max(task.documents - len(judged), 0)))
        documents = [document for document in documents if document.id in kept]
    asked = {qrel.query_id for qrel in qrels}
    return documents, [query for query in source.queries if query.id in asked], qrels


def ours(task: Task) -> dict[str, float]:
    """The stages' functions, one after the other."""
    documents, queries, qrels = read(task)
    with tempfile.TemporaryDirectory() as name:
        vectors, index = Path(name, "vectors"), Path(name, "index")
        vectors.mkdir()
        index.mkdir()
        encoder = load_encoder(task.retriever, length=task.length, device="cpu")
        texts = [document.contents for document in documents]
        options = {"length": task.length, "tokens": task.tokens, "precision": task.precision}
        matrix = encode_texts(encoder, texts, task="document", **options)
        write_shard(vectors, Shard([document.id for document in documents], matrix))
        build_exact(index, [vectors])
        # Queries are cut where the saved tokenizer of the other side cuts them.
        tokenizer = read_json(task.retriever / "model" / "query_0_SparseStaticEmbedding" / "tokenizer_config.json")
        side = open_queries(task.retriever, {"query_length": tokenizer["model_max_length"]})
        run = retrieve(open_search("exact", index, queries=side), queries, depth=DEPTH, drop_self_hits=False)
        found = evaluate(run, qrels, MEASURES)
    return {MEASURE: found.means[MEASURE], "documents": len(documents), "postings": matrix.nnz}


def theirs(task: Task) -> dict[str, float]:
    """`SparseInformationRetrievalEvaluator` with its defaults."""
    documents, queries, qrels = read(task)
    relevant: dict[str, set[str]] = {}
    for qrel in qrels:
        if qrel.relevance > 0:
            relevant.setdefault(qrel.query_id, set()).add(qrel.doc_id)
    encoder = SparseEncoder(str(task.retriever / "model"), device="cpu", local_files_only=True)
    document = encoder[0].sub_modules["document"]
    document[0].max_seq_length = task.length
    if task.precision == "bf16":
        document.bfloat16()
    evaluator = SparseInformationRetrievalEvaluator(
        queries={query.id: query.text for query in queries},
        corpus={document.id: document.contents for document in documents},
        relevant_docs=relevant,
        write_csv=False,
    )
    found = evaluator(encoder)
    return {MEASURE: found["dot_ndcg@10"], "documents": len(documents)}


SIDES = {OURS: ours, THEIRS: theirs}


def timed(side: str, task: Task) -> dict[str, float]:
    """One repetition: what it found, wall and CPU seconds, and peak memory in MB."""
    torch.set_num_threads(task.threads)
    wall, cpu = time.perf_counter(), time.process_time()
    found = SIDES[side](task)
    spent = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    return {**found, **spent, "peak": resident_peak() / 1e6}


def run(task: Task, *, repetitions: int) -> dict[str, list[dict[str, float]]]:
    """All repetitions of both sides, by turns."""
    keep_freed_memory()
    limit_threads(task.threads)
    times: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for repetition in range(repetitions):
        for side in list(SIDES)[:: 1 if repetition % 2 else -1]:
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                times[side].append(pool.submit(timed, side, task).result())
                print(side, times[side][-1], file=sys.stderr, flush=True)
    return times


def report(times: dict[str, list[dict[str, float]]], task: Task, *, name: str | None) -> None:
    """Print the table, and keep it if there is a name; stop where the sides disagree."""
    values = {side: rows[0][MEASURE] for side, rows in times.items()}
    for both in zip(*([row[MEASURE] for row in rows] for rows in times.values()), strict=True):
        if not abs(both[0] - both[1]) <= TOLERANCE[task.precision]:  # so that NaN disagrees
            sys.exit(f"the sides disagree on {MEASURE}: {dict(zip(times, both, strict=True))}; nothing to compare")
    command = f"python benchmarks/{shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}"
    setting = f"{machine('cpu')}; {task.threads} thread(s), {task.precision}"
    least = {side: {key: min(row[key] for row in rows) for key in rows[0]} for side, rows in times.items()}
    peaks = {side: max(row["peak"] for row in rows) for side, rows in times.items()}
    pairs = list(zip(times[THEIRS], times[OURS], strict=True))
    lines = [
        "# Whole evaluation of a retriever",
        "",
        f"`{command}`, {datetime.date.today().isoformat()}; {setting}",
        "",
        f"{least[OURS]['documents']:,} documents; least seconds, most memory of {len(pairs)} repetition(s).",
        "",
        f"| | {MEASURE} | wall s | CPU s | peak memory, MB |",
        "|---|---|---|---|---|",
    ]
    for side, row in least.items():
        lines.append(
            f"| {side} | {values[side]:.4f} | {row['seconds']:.1f} | {row['cpu_seconds']:.1f} | {peaks[side]:,.0f} |"
        )
    lines += ["", "| ratio | of least | median of neighbours | aim |", "|---|---|---|---|"]
    for key, what in (("seconds", "wall"), ("cpu_seconds", "CPU")):
        middle = statistics.median(a[key] / b[key] for a, b in pairs)
        lines.append(f"| {what} | **{least[THEIRS][key] / least[OURS][key]:.2f}** | {middle:.2f} | at least 3 |")
    print("\n".join(lines))
    if name:
        record = {"command": command, "machine": machine("cpu"), "results": times}
        (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
        (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("retriever", type=Path, help="what training wrote, as results/models/ours/seed-0 of the demo")
    parser.add_argument("collection", type=Path, help="BEIR-style folder: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv")
    parser.add_argument("--split", default="test")
    parser.add_argument("--documents", type=int, help="keep the judged ones and so many in all (default: all)")
    parser.add_argument("--length", type=int, default=256, help="tokens kept of a document")
    parser.add_argument("--tokens", type=int, default=4096, help="our bound on the padded tokens of a batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=sorted(TOLERANCE), default="fp32", help="of both sides")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--name", help="write results/NAME.json and results/NAME.md")
    chosen = vars(parser.parse_args())
    repetitions, name = chosen.pop("repetitions"), chosen.pop("name")
    task = Task(**chosen)
    report(run(task, repetitions=repetitions), task, name=name)


if __name__ == "__main__":
    main()
