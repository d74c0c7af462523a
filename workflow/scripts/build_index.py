"""Index a collection for search: BM25 from its texts, or learned sparse vectors in Lucene, memory or a cluster."""

import sys

from sparsemill.errors import UserError
from sparsemill.files import canonical_json
from sparsemill.job import Job, input_contents, main


def run(job: Job) -> None:
    engine = job.spec["engine"]
    if engine == "bm25":
        from sparsemill.data.collection import document_count, read_corpus
        from sparsemill.retrieval.lucene_bm25 import build_bm25

        collection = job.input("collection")
        chosen = {key: job.spec[key] for key in ("analyzer", "fields") if key in job.spec}
        statistics = build_bm25(job.out, read_corpus(collection), total=document_count(collection), **chosen)
    elif engine == "lucene":
        from sparsemill.data.tokenizer import read_vocabulary
        from sparsemill.retrieval.lucene_impact import build_impact

        vocabulary = read_vocabulary(job.input("model"))
        statistics = build_impact(
            job.out, job.inputs["vectors"], vocabulary=vocabulary, quantisation=job.spec["quantisation"]
        )
    elif engine == "exact":
        from sparsemill.retrieval.exact import build_exact

        postings = job.spec.get("postings", "float32")
        statistics = build_exact(job.out, job.inputs["vectors"], postings=postings)
    elif engine == "seismic":
        from sparsemill.retrieval.seismic_index import build_seismic

        statistics = build_seismic(job.out, job.inputs["vectors"], job.spec["seismic"], threads=job.threads)
    elif "cluster" in job.spec:
        from sparsemill.data.tokenizer import read_vocabulary
        from sparsemill.retrieval.clusters import build_cluster, connection_of, index_name

        connection = connection_of(job.facts)
        statistics = build_cluster(
            job.out,
            job.inputs["vectors"],
            vocabulary=read_vocabulary(job.input("model")),
            name=index_name(connection["prefix"], job.key, canonical_json([job.spec, input_contents(job.inputs)])),
            spec=job.spec["cluster"],
            connection=connection,
        )
    else:
        raise UserError(f"engine {engine!r} is unknown; there are bm25, lucene, exact and seismic")
    job.facts.update(engine=engine, **statistics._asdict())


if __name__ == "__main__":
    sys.exit(main("build_index", run, doc=__doc__))
