"""Encode one shard of a collection's documents with a trained or released retriever."""

import sys
from itertools import islice

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Write the shard's sparse vectors and ids."""
    from sparsemill.quiet import quiet_libraries

    quiet_libraries()
    from scipy import sparse

    from sparsemill.data.collection import document_count, read_corpus
    from sparsemill.device import choose_device, choose_precision, set_torch_threads
    from sparsemill.models.encode import encode_texts, load_encoder
    from sparsemill.progress import Progress
    from sparsemill.retrieval.prune import prune
    from sparsemill.teachers.score import shard_bounds

    spec = job.spec
    job.device = choose_device(spec["device"])
    set_torch_threads(job.threads)
    precision = choose_precision(spec["precision"], device=job.device)
    collection = job.input("collection")
    start, end = shard_bounds(document_count(collection), shard=spec["shard"], shards=spec["shards"])
    ids, texts = [], []
    for document in islice(read_corpus(collection), start, end):
        ids.append(document.id)
        texts.append(document.contents)
    encoder = load_encoder(
        job.input("model"),
        length=spec["encode_length"],
        device=job.device,
        head=spec.get("head", "chunked"),
        trust_remote_code=spec.get("trust_remote_code", False),
    )
    vectors = encode_texts(
        encoder,
        texts,
        task="document",
        length=spec["encode_length"],
        tokens=spec["encode_tokens"],
        precision=precision,
        progress=Progress(job.key, len(texts), unit="doc"),
    )
    if "prune" in spec:  # else a copy of all vectors for nothing
        vectors = prune(vectors, **spec["prune"])
    sparse.save_npz(job.out / "vectors.npz", vectors, compressed=False)
    (job.out / "ids.txt").write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
    job.facts.update(documents=len(ids), postings=int(vectors.nnz), precision=precision)


if __name__ == "__main__":
    sys.exit(main("encode_corpus", run, doc=__doc__))
