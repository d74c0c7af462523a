"""A training step of an inference-free retriever: sentence-transformers against sparsemill.

Both sides train the same retriever on the same tokenised batch with the same loss (KL to a teacher plus FLOPS) and the
optimiser that transformers takes by default (fused AdamW): forward, backward, clipping, update. sentence-transformers
runs `SpladeLoss(SparseDistillKLDivLoss)`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from compare import OURS, THEIRS, compare, write_report
from sentence_transformers.sparse_encoder import SparseEncoder
from sentence_transformers.sparse_encoder.losses import SparseDistillKLDivLoss, SpladeLoss
from setting import Setting, lengths, parser, texts
from torch import Tensor

from sparsemill.models.head import attach_head
from sparsemill.study.models import Regulariser, Training
from sparsemill.training.grad_cache import cached_backward
from sparsemill.training.objective import Objective

WEIGHT = 1e-3
"""Of FLOPS."""


def _batch(setting: Setting) -> tuple[list[str], list[str], Tensor]:
    """Queries, their documents (query by query), and teacher scores [queries, documents per query]."""
    queries, ways = setting.more["queries"], setting.more["ways"]
    documents = texts(lengths(queries * ways, limit=setting.length, fixed=setting.fixed))
    asked = [" ".join(text.split()[:6]) for text in documents[::ways]]
    scores = torch.randn(queries, ways, generator=torch.Generator().manual_seed(0))
    return asked, documents, scores.to(setting.device)


def _prepare(
    setting: Setting, encoder: SparseEncoder, loss: Any, *, cached: Callable[[], object] | None = None
) -> tuple[dict[str, float], Any]:
    """Facts: the loss before training, without dropout. `cached` is a backward pass by GradCache."""
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=2e-5, fused=True)

    def forward() -> Tensor:
        with torch.autocast(setting.device, dtype=torch.bfloat16, enabled=setting.precision == "bf16"):
            total: Tensor = sum(loss().values())
        return total

    def step() -> None:
        if cached is None:
            forward().backward()  # type: ignore[no-untyped-call]  # torch's own
        else:
            cached()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    encoder.eval()
    with torch.no_grad():
        facts = {"loss": float(forward())}
    encoder.train()
    return facts, step


def theirs(setting: Setting) -> tuple[dict[str, float], Any]:
    """One column per document slot, as its data collator makes them."""
    encoder = SparseEncoder(str(setting.folder / "model"), device=setting.device)
    queries, documents, scores = _batch(setting)
    ways = setting.more["ways"]
    columns = [encoder.preprocess(queries, task="query")]
    columns += [encoder.preprocess(documents[slot::ways], task="document") for slot in range(ways)]
    columns = [_moved(column, setting.device) for column in columns]
    ranking = SparseDistillKLDivLoss(encoder, temperature=1.0)
    loss = SpladeLoss(encoder, ranking, document_regularizer_weight=WEIGHT)
    return _prepare(setting, encoder, lambda: loss([dict(column) for column in columns], scores))


def ours(setting: Setting) -> tuple[dict[str, float], Any]:
    """All documents in one batch, as our data collator makes them."""
    encoder = SparseEncoder(str(setting.folder / "model"), device=setting.device)
    attach_head(encoder, kind=setting.head, device=setting.device)
    queries, documents, scores = _batch(setting)
    features = [encoder.preprocess(queries, task="query"), encoder.preprocess(documents, task="document")]
    features = [_moved(part, setting.device) for part in features]
    spec = Training(
        training_set="none",
        ensemble="none",
        query_side="binary",
        steps=1,
        queries_per_step=len(queries),
        documents_per_query=setting.more["ways"],
        regulariser=Regulariser(lambda_d=WEIGHT),
    )
    objective = Objective(encoder, spec, None)
    labels = {"targets": scores}

    def cached() -> object:
        return cached_backward(
            features,
            size=setting.more["grad_cache"],
            represent=objective.represent,
            loss=lambda *both: torch.stack(list(objective.terms(both[0], both[1], labels).values())).sum(),
            backward=torch.Tensor.backward,
        )

    return _prepare(
        setting,
        encoder,
        lambda: objective([dict(part) for part in features], labels),
        cached=cached if setting.more["grad_cache"] else None,
    )


def _moved(features: dict[str, Any], device: str) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in features.items()}


def main() -> None:
    """Measure and report."""
    options = parser(__doc__ or "")
    options.add_argument("--queries", type=int, default=8, help="queries of a step")
    options.add_argument("--ways", type=int, default=4, help="documents per query")
    options.add_argument("--grad-cache", type=int, help="ours by GradCache, with this many documents at a time")
    chosen = options.parse_args()
    results = {}
    for model in chosen.models:
        more = {"queries": chosen.queries, "ways": chosen.ways, "grad_cache": chosen.grad_cache}
        setting = Setting(
            model, Path(), chosen.length, chosen.fixed, chosen.device, chosen.precision, chosen.threads, chosen.active,
            chosen.head, more,
        )  # fmt: skip
        results[model] = compare(
            {OURS: ours, THEIRS: theirs}, setting, repetitions=chosen.repetitions, items=chosen.queries * chosen.ways
        )
    notes = [f"Aims: speed {1.5 if chosen.device == 'cuda' else 2.5}, memory one third or less."]
    write_report("Training step", results, name=chosen.name, setting=setting, notes=notes)


if __name__ == "__main__":
    main()
