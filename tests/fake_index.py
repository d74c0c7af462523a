"""An index of the fake OpenSearch: what its mapping allows, and Lucene's FeatureField behind it."""

import re
from typing import Any

import numpy as np

from sparsemill.retrieval.jvm import declare, java

LUCENE = "org.apache.lucene"
PARAMETERS = {
    "n_postings": lambda value: isinstance(value, int) and value > 0,
    "cluster_ratio": lambda value: 0 < value < 1,
    "summary_prune_ratio": lambda value: 0 < value <= 1,
    "approximate_threshold": lambda value: isinstance(value, int) and value >= 0,
    "quantization_ceiling_search": lambda value: value > 0,
    "quantization_ceiling_ingest": lambda value: value > 0,
}
INDEX_SETTINGS = {"number_of_shards", "number_of_replicas", "refresh_interval", "sort.field", "sort.order", "sparse"}


class Refused(Exception):  # noqa: N818 (it is an answer, not an error)
    """An answer that is an error."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(reason)
        cause = {"type": kind, "reason": reason}
        self.status, self.body = status, {"error": {"root_cause": [cause], **cause}, "status": status}


def demand(condition: Any, reason: str, kind: str = "illegal_argument_exception") -> None:
    if not condition:
        raise Refused(400, kind, reason)


class Index:
    """An index: its documents, and a Lucene index of those that the last refresh made visible."""

    def __init__(self, name: str, body: dict[str, Any]) -> None:
        demand(re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,254}", name), f"invalid index name [{name}]")
        demand(set(body) <= {"settings", "mappings"}, f"unknown key in {sorted(body)}", "parse_exception")
        self.settings = body["settings"]["index"]
        unknown = set(self.settings) - INDEX_SETTINGS
        demand(not unknown, f"unknown setting {sorted(unknown)}", "settings_exception")
        self.properties: dict[str, Any] = body["mappings"]["properties"]
        self.dynamic = body["mappings"].get("dynamic", True)
        for field in self.properties.values():
            self._check_field(field)
        sort = self.settings.get("sort.field")
        demand(sort is None or self.properties[sort]["type"] in ("long", "integer"), "cannot sort by this field")
        self.documents: dict[str, dict[str, Any]] = {}
        self.visible: list[tuple[str, dict[str, Any]]] = []
        self.searcher: Any = None
        self.merged_to: int | None = None

    def _check_field(self, field: dict[str, Any]) -> None:
        kinds = ("rank_features", "sparse_vector", "integer", "long")
        demand(field["type"] in kinds, f"No handler for type [{field['type']}]", "mapper_parsing_exception")
        if field["type"] != "sparse_vector":
            demand(set(field) == {"type"}, f"unknown parameter in {sorted(field)}", "mapper_parsing_exception")
            return
        demand(self.settings.get("sparse") is True, "index.sparse must be true")
        demand(field["method"]["name"] == "seismic", "unknown method")
        for name, value in field["method"]["parameters"].items():
            demand(name in PARAMETERS and PARAMETERS[name](value), f"invalid parameter [{name}]: {value}")

    def create(self, doc_id: str, source: dict[str, Any]) -> dict[str, Any]:
        """The item of a bulk answer."""
        if len(doc_id.encode()) > 512:
            return failed(400, "illegal_argument_exception", "id is too long")
        if doc_id in self.documents:
            return failed(409, "version_conflict_engine_exception", f"[{doc_id}]: document already exists")
        for name, value in source.items():
            if name not in self.properties:
                return failed(400, "strict_dynamic_mapping_exception", f"[{name}] is not allowed")
            kind = self.properties[name]["type"]
            if kind in ("integer", "long") and not isinstance(value, int):
                return failed(400, "mapper_parsing_exception", f"[{name}] is no whole number")
            weights = value.items() if isinstance(value, dict) else ()
            if any(np.float32(weight) < np.finfo(np.float32).tiny for _, weight in weights):
                return failed(400, "mapper_parsing_exception", "featureValue must be a positive normal float")
            if kind == "sparse_vector" and not all(token.isdecimal() for token, _ in weights):
                return failed(400, "mapper_parsing_exception", "tokens must be whole numbers")
        self.documents[doc_id] = source
        return {"_id": doc_id, "result": "created", "status": 201}

    def refresh(self) -> None:
        self.visible = list(self.documents.items())
        if "sort.field" in self.settings:
            self.visible.sort(key=lambda item: item[1][self.settings["sort.field"]])
        self.searcher = None

    def open(self) -> Any:
        """A Lucene searcher over what is visible."""
        if self.searcher is None:
            directory = java(f"{LUCENE}.store.ByteBuffersDirectory")()
            config = java(f"{LUCENE}.index.IndexWriterConfig")(None)
            config.setMergePolicy(java(f"{LUCENE}.index.LogDocMergePolicy")())
            writer = java(f"{LUCENE}.index.IndexWriter")(directory, config)
            # Reflection costs 200 us per posting.
            new_document, feature = _fast_classes()
            for _, source in self.visible:
                document = new_document()
                for token, weight in source["vector"].items():
                    document.add(feature("vector", token, float(np.float32(weight))))
                writer.addDocument(document)
            writer.forceMerge(1)
            writer.close()
            java(f"{LUCENE}.search.IndexSearcher")  # as FeatureField below
            searcher = declare(
                "org/apache/lucene/search/IndexSearcher",
                constructor="(Lorg/apache/lucene/index/IndexReader;)V",
                methods={"search": "(Lorg/apache/lucene/search/Query;I)Lorg/apache/lucene/search/TopDocs;"},
            )
            self.searcher = searcher(java(f"{LUCENE}.index.DirectoryReader").open(directory))
        return self.searcher


def _fast_classes() -> tuple[Any, Any]:
    """Lucene's Document and FeatureField, declared."""
    java(f"{LUCENE}.document.FeatureField")  # by reflection first, for its static methods: pyjnius keeps one per name
    document = declare(
        "org/apache/lucene/document/Document", methods={"add": "(Lorg/apache/lucene/index/IndexableField;)V"}
    )
    signature = "(Ljava/lang/String;Ljava/lang/String;F)V"
    return document, declare("org/apache/lucene/document/FeatureField", constructor=signature)


def failed(status: int, kind: str, reason: str) -> dict[str, Any]:
    return {"status": status, "error": {"type": kind, "reason": reason}}


def linear(tokens: dict[str, float]) -> Any:
    """The Lucene query that `neural_sparse` becomes; weights outside (0, 64] are refused by Lucene itself."""
    builder = declare(
        "org/apache/lucene/search/BooleanQuery$Builder",
        methods={
            "add": "(Lorg/apache/lucene/search/BooleanClause;)Lorg/apache/lucene/search/BooleanQuery$Builder;",
            "build": "()Lorg/apache/lucene/search/BooleanQuery;",
        },
    )()
    occur = java(f"{LUCENE}.search.BooleanClause$Occur").SHOULD
    for token, weight in tokens.items():
        try:
            query = java(f"{LUCENE}.document.FeatureField").newLinearQuery("vector", token, float(np.float32(weight)))
        except Exception as error:
            raise Refused(400, "illegal_argument_exception", str(error)) from None
        builder.add(java(f"{LUCENE}.search.BooleanClause")(query, occur))
    return builder.build()
