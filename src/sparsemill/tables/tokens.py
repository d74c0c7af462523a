"""The tokens of a trained model for people to read: how it splits texts and weighs queries."""

from pathlib import Path

from sparsemill.data.tokenizer import read_tokenizer, read_vocabulary
from sparsemill.retrieval.queries import Queries


class Tokens:
    """Tokenizer and query weights of a model's folder, as search uses them.

    Args:
        folder: holds `tokenizer.json`.
        queries: the query side of that model.

    Raises:
        UserError: the file is missing.
    """

    def __init__(self, folder: Path, queries: Queries) -> None:
        self._tokenizer = read_tokenizer(folder)
        self._queries = queries
        self.vocabulary = read_vocabulary(folder)

    def split(self, text: str) -> list[str]:
        """The tokens of a text, without special tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).tokens)

    def weigh(self, text: str) -> dict[str, float]:
        """Weights of a query: its own tokens in the order of the text, then those of its expansion, strongest first."""
        row = self._queries.encode([text])
        weights = {self.vocabulary[token]: float(weight) for token, weight in zip(row.indices, row.data, strict=True)}
        own = {token: weights.pop(token) for token in dict.fromkeys(self.split(text)) if token in weights}
        return own | dict(sorted(weights.items(), key=lambda item: -item[1]))
