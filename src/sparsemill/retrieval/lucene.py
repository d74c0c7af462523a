"""A Lucene index of one text field or several, written and searched through Lucene's own classes.

Documents keep the order of the corpus: one writing thread, and a merge policy that joins neighbours only. So Lucene's
document number is the line number of `ids.txt`, and no stored field is fetched per hit. The fields are those of
Anserini's indexes, whose searchers open the same folder.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsemill.retrieval.engine import Statistics
from sparsemill.retrieval.jvm import declare, java
from sparsemill.retrieval.runs import Hit
from sparsemill.retrieval.vectors import IDS, check_distinct, read_ids, write_ids

FIELD, ID = "contents", "id"
INDEX = "lucene"
_BUFFER_MB = 128.0


def _directory(folder: Path) -> Any:
    return java("org.apache.lucene.store.FSDirectory").open(java("java.io.File")(str(folder / INDEX)).toPath())


class Writer:
    """Writes documents into a new index.

    Args:
        folder: receives the folder `lucene` and `ids.txt`.
        analyzer: Java object that splits a text into terms.
        norms: keep document lengths, which BM25 needs.
    """

    def __init__(self, folder: Path, *, analyzer: Any, norms: bool) -> None:
        self._folder = folder
        self._ids: list[str] = []
        settings = java("org.apache.lucene.index.IndexWriterConfig")(analyzer)
        settings.setMergePolicy(java("org.apache.lucene.index.LogDocMergePolicy")())
        settings.setRAMBufferSizeMB(_BUFFER_MB)
        self._writer = java("org.apache.lucene.index.IndexWriter")(_directory(folder), settings)
        self._type = java("org.apache.lucene.document.FieldType")()
        self._type.setTokenized(True)
        self._type.setIndexOptions(java("org.apache.lucene.index.IndexOptions").DOCS_AND_FREQS)
        self._type.setOmitNorms(not norms)
        self._type.freeze()

    def add(self, doc_id: str, texts: Mapping[str, str]) -> None:
        """Add one document, a text for each field; a text without terms is kept, without postings."""
        document = java("org.apache.lucene.document.Document")()
        document.add(
            java("org.apache.lucene.document.StringField")(
                ID, doc_id, java("org.apache.lucene.document.Field$Store").YES
            )
        )
        # Anserini's searchers sort ties by this one.
        document.add(java("org.apache.lucene.document.BinaryDocValuesField")(ID, _bytes(doc_id)))
        for field, text in texts.items():
            document.add(_field(field, text, self._type))
        self._writer.addDocument(document)
        self._ids.append(doc_id)

    def close(self) -> None:
        """Merge into one segment and write the ids.

        Raises:
            UserError: an id is there twice.
        """
        check_distinct(self._ids)
        self._writer.forceMerge(1)
        self._writer.close()
        (self._folder / INDEX / "write.lock").unlink(missing_ok=True)
        write_ids(self._folder / IDS, self._ids)


def _field(name: str, text: str, field_type: Any) -> Any:
    signature = "(Ljava/lang/String;Ljava/lang/CharSequence;Lorg/apache/lucene/index/IndexableFieldType;)V"
    return declare("org/apache/lucene/document/Field", constructor=signature)(name, text, field_type)


def _bytes(text: str) -> Any:
    return declare("org/apache/lucene/util/BytesRef", constructor="(Ljava/lang/CharSequence;)V")(text)


class Searcher:
    """Searches an index that `Writer` made.

    Args:
        folder: as given to `Writer`.
        similarity: Java object that scores.
        fields: those of the documents.

    Raises:
        UserError: there is no index in `folder`.
    """

    def __init__(self, folder: Path, *, similarity: Any, fields: Sequence[str] = (FIELD,)) -> None:
        self._fields = tuple(fields)
        self._ids = read_ids(folder / IDS)
        self._reader = java("org.apache.lucene.index.DirectoryReader").open(_directory(folder))
        java("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(2**30)
        searcher = declare(
            "org/apache/lucene/search/IndexSearcher",
            constructor="(Lorg/apache/lucene/index/IndexReader;)V",
            methods={
                "setSimilarity": "(Lorg/apache/lucene/search/similarities/Similarity;)V",
                "search": "(Lorg/apache/lucene/search/Query;I)Lorg/apache/lucene/search/TopDocs;",
                "collectionStatistics": "(Ljava/lang/String;)Lorg/apache/lucene/search/CollectionStatistics;",
            },
        )
        self._searcher = searcher(self._reader)
        self._searcher.setSimilarity(similarity)
        # One call brings all hits over as JSON; reading them object by object costs 5 us each.
        self._json = java("com.fasterxml.jackson.databind.ObjectMapper")()

    def search(self, query: Any, k: int) -> list[Hit]:
        """The k best documents of a Java `Query`: score (float32) descending, ties in the order of the corpus."""
        return self._hits(self._searcher.search(query, k))

    def search_twice(self, first: Any, second: Any, k: int, *, window: int) -> list[Hit]:
        """The k best of the `window` best documents of a Java `Query`, after the scores of a second one were added."""
        found = self._searcher.search(first, window)
        rescorer = java("org.apache.lucene.search.QueryRescorer")
        return self._hits(rescorer.rescore(self._searcher, found, second, 1.0, k))

    def _hits(self, top: Any) -> list[Hit]:
        found = json.loads(self._json.writeValueAsString(top))["scoreDocs"]
        scores = np.array([hit["score"] for hit in found], dtype=np.float32).tolist()
        return [Hit(self._ids[hit["doc"]], score) for hit, score in zip(found, scores, strict=True) if score > 0]

    def statistics(self) -> Statistics:
        """Documents in the index and postings of all its text fields."""
        counted = filter(None, map(self._searcher.collectionStatistics, self._fields))
        return Statistics(self._reader.numDocs(), sum(field.sumDocFreq() for field in counted))
