"""Real learned sparse queries, and vectors of real passages to search with them."""

import gzip
import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from sparsemill.data.idf import count_document_frequencies, idf

IMPACT = 100
"""Weights are whole hundredths, as in the encodings that Anserini ships."""


class RealVectors(NamedTuple):
    """Rows over BERT's vocabulary; weights are whole hundredths."""

    vocabulary: list[str]
    ids: list[str]
    documents: Any
    queries: Any


def bert_tokenizer(shared: Path) -> Tokenizer:
    """BERT's word pieces, uncased, without special tokens."""
    path = shared / "data" / "reference" / "bert-base-uncased-vocab" / "vocab.txt"
    words = path.read_text(encoding="utf-8").split("\n")[:-1]
    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


def read_encoded_queries(path: Path, *, most: int) -> list[Counter[str]]:
    """Query encodings as Anserini ships them: id, a tab, and each token as often as its impact says."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [Counter(line.rstrip("\n").split("\t")[1].split(" ")) for line in islice(file, most)]


def read_real_vectors(shared: Path, *, documents: int, queries: int) -> RealVectors:
    """Passages of TREC DL, weighted log(1 + tf) * idf / 4, and queries as SPLADE++ ED and SPLADE-v3 encode them.

    Args:
        shared: folder of real data.
        documents: how many passages.
        queries: how many of each of the four files.
    """
    tokenizer = bert_tokenizer(shared)
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    with (shared / "data" / "collections" / "msmarco-dl1920" / "corpus.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in islice(file, documents)]
    texts = [row["text"] for row in rows]
    counted = count_document_frequencies(texts, tokenizer)
    weights = idf(counted.counts, counted.documents)
    pieces = [Counter(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    passages = [{i: np.log1p(tf) * weights[i] / 4 for i, tf in counts.items()} for counts in pieces]
    place = {token: i for i, token in enumerate(vocabulary)}
    files = sorted((shared / "data" / "reference" / "splade-query-encodings").glob("topics.*.tsv.gz"))
    encoded = [query for path in files for query in read_encoded_queries(path, most=queries)]
    asked = [{place[token]: impact / IMPACT for token, impact in query.items()} for query in encoded]
    return RealVectors(
        vocabulary, [row["_id"] for row in rows], _csr(passages, len(vocabulary)), _csr(asked, len(vocabulary))
    )


def _csr(rows: list[dict[int, float]], columns: int) -> Any:
    """CSR float32 of whole hundredths."""
    data = np.round([weight for row in rows for weight in row.values()], 2).astype(np.float32)
    bounds = np.cumsum([0, *map(len, rows)])
    matrix = sparse.csr_matrix((data, [i for row in rows for i in row], bounds), shape=(len(rows), columns))
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix
