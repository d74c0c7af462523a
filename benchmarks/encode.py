"""Document encoding, texts to sparse vectors: sentence-transformers against sparsemill.

Both sides read the same saved retriever and the same texts in the same order, tokenise, encode and return one sparse
matrix. sentence-transformers runs as its documentation recommends: `encode_document` with its batch size of 32, which
sorts by length.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from compare import OURS, THEIRS, compare, write_report
from sentence_transformers.sparse_encoder import SparseEncoder
from setting import SIZES, VOCABULARY, Setting, lengths, parser, texts, write_retriever

from sparsemill.models.encode import encode_batches, encode_texts, load_encoder
from sparsemill.models.head import use_bf16_weights
from sparsemill.models.ready_batches import ready_batches


def _documents(setting: Setting) -> list[str]:
    return texts(lengths(setting.more["documents"], limit=setting.length, fixed=setting.fixed))


def _facts(vectors: torch.Tensor) -> dict[str, float]:
    """Of [documents, vocabulary] the number of weights, and of each row their sum and where they lie."""
    columns = torch.arange(vectors.shape[1], dtype=vectors.dtype) / vectors.shape[1]
    facts = {"number of weights": float((vectors > 0).sum())}
    for row, (total, placed) in enumerate(zip(vectors.sum(1), vectors @ columns, strict=True)):
        facts |= {f"weights of document {row}": float(total), f"their columns in document {row}": float(placed)}
    return facts


def theirs(setting: Setting) -> tuple[dict[str, float], Any]:
    """`SparseEncoder.encode_document`; for bf16 with weights of that type."""
    encoder = SparseEncoder(str(setting.folder / "model"), device=setting.device)
    if setting.precision == "bf16":
        encoder = encoder.bfloat16()
    documents = _documents(setting)
    vectors = encoder.encode_document(documents[:32]).float().to_dense().cpu()
    return _facts(vectors), lambda: encoder.encode_document(documents)


def ours(setting: Setting) -> tuple[dict[str, float], Any]:
    """`encode_texts`, as the stage encode_corpus calls it."""
    encoder = load_encoder(setting.folder, length=setting.length, device=setting.device, head=setting.head)
    documents = _documents(setting)
    options = {"length": setting.length, "tokens": setting.more["tokens"], "precision": setting.precision}

    def encode(chosen: list[str]) -> Any:
        return encode_texts(encoder, chosen, task="document", **options)

    vectors = encode(documents[:32])
    return _facts(torch.from_numpy(vectors.toarray())), lambda: encode(documents)


def work(model: str, length: int) -> float:
    """Floating-point operations of the forward pass for one document of `length` tokens, a multiply-add as two."""
    layers, width, _ = SIZES[model]
    per_token = layers * (24 * width**2 + 4 * length * width) + 2 * width**2 + 2 * width * VOCABULARY
    return float(length * per_token)


def ready_rate(setting: Setting, *, repetitions: int) -> float:
    """Documents per second of our encoding once batches are ready, without the tokenizer: the median repetition."""
    torch.set_num_threads(setting.threads)
    with tempfile.TemporaryDirectory() as folder:
        write_retriever(Path(folder), setting.model, active=setting.active, length=setting.length)
        encoder = load_encoder(Path(folder), length=setting.length, device=setting.device, head=setting.head)
    tokenizer, documents = encoder[0].sub_modules["document"][0].tokenizer, _documents(setting)
    options = {"length": setting.length, "tokens": setting.more["tokens"], "device": setting.device}
    batches = list(ready_batches(documents, tokenizer, precision=setting.precision, **options))
    if setting.precision == "bf16":
        use_bf16_weights(encoder)
    times = []
    for _ in range(1 + repetitions):
        start = time.perf_counter()
        with torch.inference_mode():
            for _ in encode_batches(encoder, iter(batches), task="document"):
                pass
        times.append(time.perf_counter() - start)
    return len(documents) / statistics.median(times[1:])


def main() -> None:
    """Measure and report."""
    options = parser(__doc__ or "")
    options.add_argument("--documents", type=int, default=128, help="documents of one repetition")
    options.add_argument("--tokens", type=int, default=4096, help="our bound on the padded tokens of a batch")
    options.add_argument("--peak", type=float, help="the GPU's dense bf16 peak in TFLOP/s, to report the share reached")
    chosen = options.parse_args()
    on_gpu = chosen.device == "cuda"
    results, notes = {}, ["Aim: 40 % of the peak." if on_gpu else "Aims: speed 3.0, memory one third or less."]
    for model in chosen.models:
        more = {"documents": chosen.documents, "tokens": chosen.tokens}
        setting = Setting(
            model, Path(), chosen.length, chosen.fixed, chosen.device, chosen.precision, chosen.threads, chosen.active,
            chosen.head, more,
        )  # fmt: skip
        results[model] = compare(
            {OURS: ours, THEIRS: theirs}, setting, repetitions=chosen.repetitions, items=chosen.documents
        )
        if chosen.peak:
            sizes = lengths(chosen.documents, limit=chosen.length, fixed=chosen.fixed)
            operations = sum(work(model, size) for size in sizes) / len(sizes)
            rates = results[model][OURS]["documents_per_second"], ready_rate(setting, repetitions=chosen.repetitions)
            whole, ready = (rate * operations / (chosen.peak * 1e12) for rate in rates)
            notes.append(
                f"{model}: ours reaches {whole:.0%} of the peak ({operations / 1e9:.1f} GFLOP per document), "
                f"{ready:.0%} from ready batches."
            )
    write_report("Document encoding", results, name=chosen.name, setting=setting, notes=notes)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
