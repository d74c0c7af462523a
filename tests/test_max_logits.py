"""The folded maximum equals the naive formula, in value and in gradient, in every implementation.

Without a GPU the Triton kernels run in Triton's interpreter (`conftest.py` asks for it).
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from sparsemill.models import max_logits as chunked
from sparsemill.models import max_logits_triton as triton
from sparsemill.models import products, screened_logits

LENGTHS = [3, 1, 5, 2]
RAGGED = [1, 130, 64, 65, 1, 20, 30, 14, 1]
"""Around the tile of 64 tokens, and several documents in a tile."""
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BOTH = pytest.mark.parametrize("module", [chunked, triton], ids=["chunked", "triton"])


def naive(hidden: Tensor, weight: Tensor, bias: Tensor, lengths: list[int]) -> Tensor:
    logits = hidden @ weight.T + bias
    return torch.stack([part.max(0).values for part in logits.split(lengths)])


def tensors(
    dtype: torch.dtype = torch.float32, *, lengths: list[int] = LENGTHS, vocabulary: int = 23, width: int = 6
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> Tensor:
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return values.to(DEVICE, dtype).requires_grad_()

    return normal(sum(lengths), width), normal(vocabulary, width), normal(vocabulary)


def some_gradient(lengths: list[int], vocabulary: int) -> Tensor:
    """A gradient that is zero for a document, for an entry and for most others, as those of sparse vectors are."""
    generator = torch.Generator().manual_seed(2)
    gradient = torch.randn(len(lengths), vocabulary, generator=generator)
    gradient *= torch.rand(gradient.shape, generator=generator) < 0.3
    gradient[0] = 0
    gradient[:, 5] = 0
    return gradient.to(DEVICE)


def exact(parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(part.detach().double().requires_grad_() for part in parts)


@pytest.fixture
def fixed_order() -> Iterator[None]:
    """torch adds in a fixed order, as training asks it to: on a GPU `index_add_` does not by itself."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@BOTH
@pytest.mark.parametrize(
    ("lengths", "vocabulary", "width"), [(LENGTHS, 23, 6), (RAGGED, 300, 70), ([1], 1, 1), ([1] * 9, 129, 64)]
)
def test_equals_the_naive_formula(module, lengths: list[int], vocabulary: int, width: int) -> None:
    inputs = tensors(lengths=lengths, vocabulary=vocabulary, width=width)
    found = module.max_logits(*inputs, lengths)
    assert found.dtype == torch.float32
    assert torch.allclose(found, naive(*inputs, lengths), atol=2e-5, rtol=0)


@pytest.mark.parametrize("chunk", [1, 4, 22, 23, 24, 4096])
def test_equals_the_naive_formula_whatever_the_slice(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(chunked, "CHUNK_BYTES", 4 * chunk)
    inputs = tensors()
    assert torch.allclose(chunked.max_logits(*inputs, LENGTHS), naive(*inputs, LENGTHS), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("lengths", "rows"), [([40] * 26 + [3], 1152), ([64] * 16, 1024), ([7, 2], 9)])
def test_large_batches_are_multiplied_in_few_shapes(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], rows: int
) -> None:
    """oneDNN keeps what it compiled for a shape; rows of zeros are no tokens of a document, and a query has none."""
    shapes = set()

    def product(left: Tensor, right: Tensor, bias: Tensor | None) -> Tensor:
        shapes.add(len(left))
        return torch.nn.functional.linear(left, right, bias)

    monkeypatch.setattr(chunked, "product", product)
    monkeypatch.setattr(screened_logits, "product", product)
    inputs = [value.detach().cpu() for value in tensors(lengths=lengths, vocabulary=700, width=16)]
    expected = naive(*inputs, lengths)
    assert torch.allclose(chunked.max_logits(*inputs, lengths), expected, atol=2e-5, rtol=0)
    assert shapes == {rows}
    shapes.clear()
    found = screened_logits.ScreenedLogits(inputs[1])(*inputs, lengths)
    assert torch.allclose(found, expected.relu(), atol=2e-5, rtol=0)
    assert shapes == {rows}


@pytest.mark.parametrize("by_onednn", [True, False], ids=["onednn", "torch"])
@pytest.mark.parametrize("lengths", [LENGTHS, RAGGED])
def test_but_for_rounding_it_is_exactly_the_naive_formula(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], by_onednn: bool
) -> None:
    """Products of whole numbers are not rounded, so the order that a library adds in, its own for each shape, is no
    difference; any other would be.
    """
    monkeypatch.setattr(products, "_by_onednn", lambda left: by_onednn and left.device.type == "cpu")
    inputs = tuple((4 * part).round().detach() for part in tensors(lengths=lengths, vocabulary=1300, width=64))
    assert torch.equal(chunked.max_logits(*inputs, lengths), naive(*inputs, lengths))


def test_maxima_of_bfloat16_by_integers_are_torchs() -> None:
    """Every bfloat16 but NaN, zeros of both signs and infinities too; some documents have negative ones alone."""
    values = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
    values = values[~values.isnan()]
    mixed = values[torch.randperm(len(values), generator=torch.Generator().manual_seed(0))][:65_000].view(50, 5, 260)
    for logits in (mixed, -mixed.abs(), mixed.abs(), values[:, None, None]):
        found = chunked._largest(logits, by_integers=True)
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, logits.amax(1))


@pytest.mark.parametrize(("bias", "expected"), [(-16.0, 1.1328125), (-16.03, 1.1028125), (0.0, 17.125)])
def test_in_bfloat16_the_bias_is_added_before_the_product_is_rounded(bias: float, expected: float) -> None:
    """17 * (1 + 1/128) is 17.1328125, which bfloat16 rounds to 17.125, as it does -16.03 to -16."""
    hidden, weight = (torch.tensor([[value]], dtype=torch.bfloat16, device=DEVICE) for value in (17.0, 1.0078125))
    found = chunked.max_logits(hidden, weight, torch.tensor([bias], device=DEVICE), [1])
    assert found.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("place", [0, 1], ids=["hidden", "weight"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_nan_in_bfloat16_is_not_lost(place: int, sign: int) -> None:
    inputs = [part.detach().cpu() for part in tensors(torch.bfloat16)]
    assert chunked._by_integers(inputs[0], inputs[1])
    inputs[place][0, 0] = torch.copysign(torch.tensor(torch.nan), torch.tensor(float(sign)))
    found = chunked.max_logits(*inputs, LENGTHS)
    assert found[0].isnan().all() if place == 0 else found[:, 0].isnan().all()


@BOTH
def test_by_hand(module) -> None:
    hidden = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]], device=DEVICE)
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], device=DEVICE)
    found = module.max_logits(hidden, weight, torch.tensor([0.0, 0.5, -3.0], device=DEVICE), [2, 1])
    assert found.tolist() == [[1.0, 2.5, -1.0], [-1.0, -0.5, -5.0]]


@BOTH
def test_inputs_may_lie_apart(module) -> None:
    """Every second row, column or entry of something larger."""
    hidden, weight, bias = tensors(lengths=[2 * length for length in LENGTHS], vocabulary=46, width=12)
    inputs = hidden[::2, ::2], weight[::2, ::2], bias[::2]
    found = module.max_logits(*inputs, LENGTHS)
    assert torch.allclose(found, naive(*inputs, LENGTHS), atol=2e-5, rtol=0)


@BOTH
@pytest.mark.parametrize(("lengths", "vocabulary", "width"), [(LENGTHS, 23, 6), (RAGGED, 150, 140)])
def test_gradients_equal_those_of_the_naive_graph(module, lengths: list[int], vocabulary: int, width: int) -> None:
    ours = tensors(lengths=lengths, vocabulary=vocabulary, width=width)
    theirs = exact(ours)
    upstream = some_gradient(lengths, vocabulary)
    module.max_logits(*ours, lengths).backward(upstream)
    naive(*theirs, lengths).backward(upstream.double())
    for mine, reference in zip(ours, theirs, strict=True):
        assert torch.allclose(mine.grad.double(), reference.grad, atol=1e-5)


@BOTH
def test_a_tie_sends_the_gradient_to_the_first_token(module) -> None:
    lengths = [70, 3]
    hidden, weight, bias = tensors(lengths=lengths, vocabulary=9)
    with torch.no_grad():
        token = hidden[2].round()
        weight.round_()  # sums of small integers are exact: by any order of additions the tokens are equals
        hidden.zero_()
        hidden[2] = hidden[40] = hidden[66] = token  # in one tile of tokens, and in the next one
    found = module.max_logits(hidden, weight, bias, lengths)
    found[0].sum().backward()
    assert hidden.grad.any(1).nonzero().flatten().tolist() == [0, 2]
    assert torch.equal(weight.grad.any(1), found[0] > bias)


@BOTH
def test_the_same_bytes_twice(module, fixed_order: None) -> None:
    inputs = tensors(lengths=RAGGED, vocabulary=150, width=70)
    upstream = some_gradient(RAGGED, 150)
    once, again = (torch.autograd.grad(module.max_logits(*inputs, RAGGED), inputs, upstream) for _ in range(2))
    assert all(torch.equal(first, second) for first, second in zip(once, again, strict=True))


def test_gradcheck_in_double_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "CHUNK_BYTES", 8 * 4)
    inputs = tensors(torch.float64, vocabulary=9)
    assert chunked.max_logits(*inputs, LENGTHS).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda *parts: chunked.max_logits(*parts, LENGTHS), inputs)


@BOTH
def test_through_splade_activation_gradients_agree(module) -> None:
    ours = tensors()
    theirs = exact(ours)
    torch.log1p(torch.relu(module.max_logits(*ours, LENGTHS))).square().sum().backward()
    torch.log1p(torch.relu(naive(*theirs, LENGTHS))).square().sum().backward()
    for mine, reference in zip(ours, theirs, strict=True):
        assert torch.allclose(mine.grad.double(), reference.grad, atol=1e-5)


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_accumulates_in_single(module, dtype: torch.dtype) -> None:
    ours = tensors(dtype)
    theirs = exact(ours)
    found = module.max_logits(*ours, LENGTHS)
    expected = naive(*theirs, LENGTHS)
    found.sum().backward()
    expected.sum().backward()
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), expected, atol=0.05)
    for mine, reference in zip(ours, theirs, strict=True):
        assert mine.grad.dtype == dtype
        assert torch.allclose(mine.grad.double(), reference.grad, atol=0.02, rtol=0.01)


@pytest.mark.parametrize(("module", "tolerance"), [(chunked, 0.1), (triton, 1e-5)], ids=["chunked", "triton"])
def test_under_autocast_it_multiplies_in_half_precision(module, tolerance: float) -> None:
    """Logits that torch rounds to bfloat16 have ties, of which another token may win."""
    inputs = tensors(lengths=RAGGED, vocabulary=300, width=70)
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        found = module.max_logits(*inputs, RAGGED)
    halves = [part.detach().bfloat16() for part in inputs[:2]]
    assert found.dtype == torch.float32
    assert torch.equal(found, module.max_logits(*halves, inputs[2], RAGGED))
    found.square().sum().backward()
    theirs = exact((*halves, inputs[2]))
    naive(*theirs, RAGGED).square().sum().backward()
    for mine, reference in zip(inputs, theirs, strict=True):
        assert mine.grad.dtype == torch.float32
        assert (mine.grad.double() - reference.grad).norm() < tolerance * reference.grad.norm()


@BOTH
def test_what_is_no_number_is_never_hidden(module) -> None:
    hidden, weight, bias = tensors()
    with torch.no_grad():
        hidden[4, 2] = torch.nan
    found = module.max_logits(hidden, weight, bias, LENGTHS)
    assert found.isfinite().all(1).tolist() == [True, True, False, True]


@BOTH
@pytest.mark.parametrize("lengths", [[11, 0], [3, 1, 5], [3, 1, 5, 3], [-1, 12], []])
def test_lengths_that_do_not_cut_the_tokens_are_refused(module, lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="do not cut 11 tokens into non-empty documents"):
        module.max_logits(*tensors(), lengths)
