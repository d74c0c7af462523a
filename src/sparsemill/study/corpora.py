"""Collections that share documents: `kind: split` is another split of a collection, with its own rules."""

from sparsemill.errors import UserError
from sparsemill.study.hints import nearest
from sparsemill.study.models import SplitOf, Study


def corpus_of(study: Study, collection: str) -> str:
    """The collection whose documents, vectors and indexes a collection uses: itself, or that of which it is a split."""
    chosen = study.collections[collection]
    return chosen.of if isinstance(chosen, SplitOf) else collection


def corpora(study: Study) -> list[str]:
    """The collections with documents of their own."""
    return [name for name in study.collections if corpus_of(study, name) == name]


def check_splits(study: Study) -> None:
    """Raise a UserError for a split of something else than a collection with documents of its own."""
    for name, chosen in study.collections.items():
        if isinstance(chosen, SplitOf) and chosen.of not in (valid := corpora(study)):
            where = f"config: collections.{name}.of"
            raise UserError(
                f"{where}: no collection with documents of its own {chosen.of!r}; {nearest(chosen.of, valid)}"
            )
