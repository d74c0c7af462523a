"""Vectors for other engines: one JSON line per document, and the table of query weights.

    python -m sparsemill.retrieval.export --model MODEL --vectors SHARD... --out FOLDER

`documents.jsonl` holds `{"id": ..., "vector": {TOKEN: WEIGHT}}` in the order of the corpus, float32 weights to nine
digits: what `rank_features` of OpenSearch takes as it is. With `--numbers` tokens are their numbers, as Milvus, Qdrant
and `sparse_vector` want them. `query_weights.json` is the weight of each token in a query, and `vocabulary.json` lists
tokens by number.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from sparsemill.data.tokenizer import read_vocabulary
from sparsemill.errors import told
from sparsemill.files import write_json, write_text
from sparsemill.retrieval.query_encoder import QUERY_WEIGHTS
from sparsemill.retrieval.vectors import read_shards


def document_lines(shards: Sequence[Path], names: Sequence[str]) -> Iterator[str]:
    """One line per document, one shard in memory at a time.

    Args:
        shards: folders of vectors, in the order of the corpus.
        names: what each column is called.

    Raises:
        UserError: a shard is broken or has another vocabulary.
    """
    keys = [f"{json.dumps(name, ensure_ascii=False)}: " for name in names]
    for shard in read_shards(shards, vocabulary=len(names)):
        shard.matrix.eliminate_zeros()
        columns, weights = shard.matrix.indices, shard.matrix.data
        for doc_id, (start, end) in zip(shard.ids, pairwise(shard.matrix.indptr.tolist()), strict=True):
            pairs = zip(columns[start:end].tolist(), weights[start:end].tolist(), strict=True)
            vector = ", ".join([f"{keys[column]}{weight:.9g}" for column, weight in pairs])
            yield f'{{"id": {json.dumps(doc_id, ensure_ascii=False)}, "vector": {{{vector}}}}}\n'


def export(shards: Sequence[Path], model: Path, out: Path, *, numbers: bool) -> None:
    """Write the files that the module describes; a siamese model has no table of query weights.

    Raises:
        UserError: a shard or the model is broken, or they do not belong together.
    """
    vocabulary = read_vocabulary(model)
    names = [str(number) for number in range(len(vocabulary))] if numbers else vocabulary
    write_text(out / "documents.jsonl", document_lines(shards, names))
    write_json(out / "vocabulary.json", vocabulary)
    if (model / QUERY_WEIGHTS).is_file():
        shutil.copyfile(model / QUERY_WEIGHTS, out / QUERY_WEIGHTS)


@told
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m sparsemill.retrieval.export", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="results/models/NAME/seed-N")
    parser.add_argument("--vectors", type=Path, nargs="+", required=True, help="results/vectors/.../shard-N, in order")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--numbers", action="store_true", help="tokens by number instead of by name")
    arguments = parser.parse_args(argv)
    export(arguments.vectors, arguments.model, arguments.out, numbers=arguments.numbers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
