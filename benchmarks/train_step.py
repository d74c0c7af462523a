"""A training step of an inference-free retriever: sentence-transformers against sparsemill.

Both sides train the same retriever on the same tokenised batches with the same loss (KL to a teacher plus FLOPS) and
the optimiser that transformers takes by default (fused AdamW): forward, backward, clipping, update.
sentence-transformers runs `SpladeLoss(SparseDistillKLDivLoss)`.
"""

from collections.abc import Callable, Iterator
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


def _batches(setting: Setting) -> Iterator[tuple[list[str], list[str], Tensor]]:
    """Queries, their documents (query by query), and teacher scores [queries, documents per query]."""
    queries, ways = setting.more["queries"], setting.more["ways"]
    for number in range(setting.more["batches"]):
        documents = texts(lengths(queries * ways, limit=setting.length, fixed=setting.fixed, seed=number))
        asked = [" ".join(text.split()[:6]) for text in documents[::ways]]
        scores = torch.randn(queries, ways, generator=torch.Generator().manual_seed(number))
        yield asked, documents, scores.to(setting.device)


def autocast(setting: Setting) -> torch.autocast:
    """Half precision, if the setting asks for it."""
    return torch.autocast(setting.device, dtype=torch.bfloat16, enabled=setting.precision == "bf16")


def _prepare(
    setting: Setting,
    encoder: SparseEncoder,
    batches: list[Any],
    loss: Callable[[Any], Any],
    *,
    cached: Callable[[Any], object] | None = None,
) -> tuple[dict[str, float], Any]:
    """Facts: the loss of the first batch before training, without dropout. `cached` is a backward pass by GradCache."""
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=2e-5, fused=True)

    def forward(batch: Any) -> Tensor:
        with autocast(setting):
            total: Tensor = sum(loss(batch).values())
        return total

    def steps() -> None:
        for batch in batches:
            if cached is None:
                forward(batch).backward()  # type: ignore[no-untyped-call]  # torch's own
            else:
                cached(batch)
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()

    encoder.eval()
    with torch.no_grad():
        facts = {"loss": float(forward(batches[0]))}
    encoder.train()
    return facts, steps


def theirs(setting: Setting) -> tuple[dict[str, float], Any]:
    """One column per document slot, as its data collator makes them."""
    encoder = SparseEncoder(str(setting.folder / "model"), device=setting.device)
    ways, batches = setting.more["ways"], []
    for queries, documents, scores in _batches(setting):
        columns = [encoder.preprocess(queries, task="query")]
        columns += [encoder.preprocess(documents[slot::ways], task="document") for slot in range(ways)]
        batches.append(([_moved(column, setting.device) for column in columns], scores))
    ranking = SparseDistillKLDivLoss(encoder, temperature=1.0)
    loss = SpladeLoss(encoder, ranking, document_regularizer_weight=WEIGHT)
    return _prepare(setting, encoder, batches, lambda batch: loss([dict(column) for column in batch[0]], batch[1]))


def ours(setting: Setting) -> tuple[dict[str, float], Any]:
    """All documents in one batch, as our data collator makes them."""
    encoder = SparseEncoder(str(setting.folder / "model"), device=setting.device)
    attach_head(encoder, kind=setting.head, device=setting.device)
    batches = []
    for queries, documents, scores in _batches(setting):
        features = [encoder.preprocess(queries, task="query"), encoder.preprocess(documents, task="document")]
        batches.append(([_moved(part, setting.device) for part in features], {"targets": scores}))
    spec = Training(
        training_set="none",
        ensemble="none",
        query_side="binary",
        steps=1,
        queries_per_step=setting.more["queries"],
        documents_per_query=setting.more["ways"],
        regulariser=Regulariser(lambda_d=WEIGHT),
    )
    objective = Objective(encoder, spec, None)

    def represent(features: Any) -> Tensor:
        with autocast(setting):
            return objective.represent(features)

    def cached(batch: Any) -> object:
        return cached_backward(
            batch[0],
            size=setting.more["grad_cache"],
            represent=represent,
            loss=lambda *both: torch.stack(list(objective.terms(both[0], both[1], batch[1]).values())).sum(),
            backward=torch.Tensor.backward,
        )

    return _prepare(
        setting,
        encoder,
        batches,
        lambda batch: objective([dict(part) for part in batch[0]], batch[1]),
        cached=cached if setting.more["grad_cache"] else None,
    )


def _moved(features: dict[str, Any], device: str) -> dict[str, Any]:
    return {name: value.to(device) if isinstance(value, Tensor) else value for name, value in features.items()}


def main() -> None:
    """Measure and report."""
    options = parser(__doc__ or "")
    options.add_argument("--queries", type=int, default=8, help="queries of a step")
    options.add_argument("--ways", type=int, default=4, help="documents per query")
    options.add_argument("--batches", type=int, default=1, help="a repetition takes a step with each of them")
    options.add_argument("--grad-cache", type=int, help="ours by GradCache, with this many documents at a time")
    chosen = options.parse_args()
    results = {}
    for model in chosen.models:
        more = {
            "queries": chosen.queries,
            "ways": chosen.ways,
            "grad_cache": chosen.grad_cache,
            "batches": chosen.batches,
        }
        setting = Setting(
            model, Path(), chosen.length, chosen.fixed, chosen.device, chosen.precision, chosen.threads, chosen.active,
            chosen.head, more,
        )  # fmt: skip
        items = chosen.batches * chosen.queries * chosen.ways
        results[model] = compare({OURS: ours, THEIRS: theirs}, setting, repetitions=chosen.repetitions, items=items)
    notes = [f"Aims: speed {1.5 if chosen.device == 'cuda' else 2.5}, memory one third or less."]
    write_report("Training step", results, name=chosen.name, setting=setting, notes=notes)


if __name__ == "__main__":
    main()
