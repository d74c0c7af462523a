"""Train a small cross-encoder, to be a teacher."""

import sys

from sparsemill.job import Job, main


def run(job: Job) -> None:
    """Train, or go on from the last checkpoint of the same settings."""
    from sparsemill.quiet import quiet_libraries

    quiet_libraries()
    from sparsemill.device import choose_device, choose_precision, chosen_precision, set_torch_threads
    from sparsemill.study.models import CrossEncoderTraining
    from sparsemill.tracking.live import open_stream
    from sparsemill.training.cross_encoder import train_cross_encoder

    job.device = choose_device(job.spec["device"])
    set_torch_threads(job.threads)
    keys = CrossEncoderTraining.model_fields.keys()
    # `checkpoint_steps` is among the facts, since it changes nothing that is made.
    told = {key: value for key, value in (job.facts | job.spec).items() if key in keys}
    spec = CrossEncoderTraining.model_validate(told)
    precision = choose_precision(spec.precision, device=job.device)
    facts = train_cross_encoder(
        spec.model_copy(update={"precision": precision}),
        collection=job.input("collection"),
        candidates=job.input("candidates"),
        out=job.out,
        state=job.own_state(**chosen_precision(job.spec, device=job.device)),
        device=job.device,
        label=job.key,
        stream=open_stream(job),
        false_negatives=job.input("false_negatives") if "false_negatives" in job.inputs else None,
    )
    job.facts.update(facts, precision=precision)


if __name__ == "__main__":
    sys.exit(main("train_cross_encoder", run, doc=__doc__))
