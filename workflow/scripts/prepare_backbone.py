"""Prepare a masked language model to start from."""

import sys
from itertools import chain, islice

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Load the weights, cut layers and vocabulary, set the transform and the starting bias."""
    from sparsemill.quiet import quiet_libraries

    quiet_libraries()
    from sparsemill.data.collection import read_corpus
    from sparsemill.models.backbone import prepare_backbone
    from sparsemill.study.models import Backbone

    spec = {key: value for key, value in job.spec.items() if key != "stage_version"}
    texts = []
    if "collection" in job.inputs:
        texts = [document.contents for document in islice(read_corpus(job.input("collection")), 64)]
    corpora = chain.from_iterable(map(read_corpus, job.inputs.get("vocabulary", [])))
    vocabulary = (document.contents for document in corpora)
    job.facts.update(prepare_backbone(Backbone.model_validate(spec), texts, job.out, vocabulary=vocabulary))


if __name__ == "__main__":
    sys.exit(main("prepare_backbone", run, doc=__doc__))
