"""Count in how many documents of a collection each word piece occurs, and write its IDF for the whole vocabulary."""

import sys
from itertools import chain

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Count the documents of every input `collection` with the tokenizer of `backbone`; write `idf.json`."""
    from sparsemill.data.collection import document_count, read_corpus
    from sparsemill.data.idf import count_document_frequencies, token_idfs, write_idfs
    from sparsemill.data.tokenizer import read_tokenizer
    from sparsemill.errors import UserError
    from sparsemill.progress import track

    collections = job.inputs["collection"]
    tokenizer = read_tokenizer(job.input("backbone"))
    documents = track(
        chain.from_iterable(map(read_corpus, collections)),
        job.key,
        total=sum(map(document_count, collections)),
        unit="doc",
    )
    frequencies = count_document_frequencies((document.contents for document in documents), tokenizer)
    if frequencies.documents == 0:
        raise UserError(f"{collections[0]}: no document has a token; there is nothing to count")
    idfs = token_idfs(frequencies, tokenizer)
    write_idfs(job.out / "idf.json", idfs)
    job.facts["documents"] = frequencies.documents
    job.facts["tokens"] = len(idfs)
    job.facts["tokens_seen"] = int((frequencies.counts > 0).sum())


if __name__ == "__main__":
    sys.exit(main("count_idf", run, doc=__doc__))
