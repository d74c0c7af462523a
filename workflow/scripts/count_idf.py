"""Write the IDF of every word piece: counted in the documents of collections, or read from a file."""

import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from sparsemill.job import Job, main

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def run(job: Job) -> None:
    """Write `idf.json` for the vocabulary of `backbone`."""
    from sparsemill.data.idf import read_idfs, write_idfs
    from sparsemill.data.tokenizer import read_tokenizer

    tokenizer = read_tokenizer(job.input("backbone"))
    counted = job.spec.get("kind") != "file"
    idfs = count(job, tokenizer) if counted else read_idfs(Path(job.spec["path"]), tokenizer)
    write_idfs(job.out / "idf.json", idfs)
    job.facts["tokens"] = len(idfs)


def count(job: Job, tokenizer: "Tokenizer") -> dict[str, float]:
    """Count the documents of every input `collection`."""
    from sparsemill.data.collection import document_count, read_corpus
    from sparsemill.data.idf import count_document_frequencies, token_idfs
    from sparsemill.errors import UserError
    from sparsemill.progress import track

    collections = job.inputs["collection"]
    documents = track(
        chain.from_iterable(map(read_corpus, collections)),
        job.key,
        total=sum(map(document_count, collections)),
        unit="doc",
    )
    frequencies = count_document_frequencies((document.contents for document in documents), tokenizer)
    if frequencies.documents == 0:
        raise UserError(f"{collections[0]}: no document has a token; there is nothing to count")
    job.facts["documents"] = frequencies.documents
    job.facts["tokens_seen"] = int((frequencies.counts > 0).sum())
    return token_idfs(frequencies, tokenizer)


if __name__ == "__main__":
    sys.exit(main("count_idf", run, doc=__doc__))
