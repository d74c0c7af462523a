"""The tokens of a trained model for people to read: how it splits texts and weighs queries."""

from pathlib import Path

from sparsemill.data.tokenizer import read_tokenizer, read_vocabulary
from sparsemill.retrieval.query_encoder import QueryEncoder


class Tokens:
    """Tokenizer and query weights of a model's folder, as search uses them.

    Args:
        folder: holds `tokenizer.json` and `query_weights.json`.
        query_length: tokens kept of a query.
        idf: `idf.json` whose weights replace those of the model.

    Raises:
        UserError: a file is missing or belongs to another model.
    """

    def __init__(self, folder: Path, *, query_length: int, idf: Path | None = None) -> None:
        self._tokenizer = read_tokenizer(folder)
        self._encoder = QueryEncoder(folder, query_length=query_length, idf=idf)
        self.vocabulary = read_vocabulary(folder)

    def split(self, text: str) -> list[str]:
        """The tokens of a text, without special tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).tokens)

    def weigh(self, text: str) -> dict[str, float]:
        """Weights of a query's distinct tokens in the order of the text; those without weight are left out."""
        row = self._encoder.encode([text])
        weights = {self.vocabulary[token]: float(weight) for token, weight in zip(row.indices, row.data, strict=True)}
        return {token: weights[token] for token in dict.fromkeys(self.split(text)) if token in weights}
