"""Search engines beside the built-in ones: clusters that are reached by address."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from sparsemill.study.models.base import Model, Name, Positive

BUILT_IN = ("lucene", "exact", "seismic")
"""Engines that need no entry in `engines`."""


class TwoPhaseSearch(Model):
    """OpenSearch's `neural_sparse_two_phase_processor`: rare, heavy tokens find documents, light ones finish scores."""

    prune_ratio: float = Field(
        default=0.4, ge=0, lt=1, description="a token is heavy from this part of the query's largest weight on"
    )
    expansion_rate: float = Field(default=5.0, gt=1, description="documents of the first phase, as a multiple of k")
    max_window_size: int = Field(default=10_000, gt=50, description="most documents of the first phase")


class SeismicIndex(Model):
    """Parameters of a `sparse_vector` field (OpenSearch 3.3, method `seismic`)."""

    n_postings: Positive | None = Field(
        default=None, description="documents kept per posting list (null: 0.0005 x documents of the segment)"
    )
    cluster_ratio: float = Field(default=0.1, gt=0, lt=1, description="clusters per posting")
    summary_prune_ratio: float = Field(default=0.4, gt=0, le=1, description="part of a summary's weight that is kept")
    approximate_threshold: int = Field(
        default=1_000_000, ge=0, description="documents from which a segment is searched approximately"
    )
    quantization_ceiling_ingest: float = Field(default=3.0, gt=0, description="largest document weight kept")
    quantization_ceiling_search: float = Field(default=16.0, gt=0, description="largest query weight kept")


class SeismicSearch(Model):
    """Parameters of an approximate query."""

    top_n: Positive = Field(default=10, description="heaviest query tokens whose postings are visited")
    heap_factor: float = Field(default=1.0, gt=0, description="higher: better recall, slower")


class Cluster(Model):
    """What every cluster has."""

    # Keys that say where it is, and keys that say how it is asked; all others are about the index.
    CONNECTION: ClassVar[frozenset[str]] = frozenset({"address", "prefix", "timeout", "bulk_documents", "retries"})
    QUERY: ClassVar[frozenset[str]] = frozenset()
    # Documents of a query at most; of OpenSearch also in the window of the second phase.
    MOST_RESULTS: ClassVar[int]

    prefix: Annotated[str, Field(pattern="^[a-z][a-z0-9]{0,31}$")] = Field(
        default="sparsemill", description="start of the names of its indexes; give each checkout its own"
    )
    timeout: float = Field(default=60.0, gt=0, description="seconds that an answer may take")
    bulk_documents: Positive = Field(default=1000, description="documents sent at once, at most")
    index: Name | None = Field(
        default=None, description="entry of `engines` whose index is searched, to ask it another kind of query"
    )


class OpenSearchEngine(Cluster):
    """An OpenSearch cluster."""

    CONNECTION: ClassVar[frozenset[str]] = Cluster.CONNECTION | {"verify", "ca_file", "credentials", "bulk_mib"}
    QUERY: ClassVar[frozenset[str]] = frozenset({"query", "two_phase", "ann"})
    MOST_RESULTS: ClassVar[int] = 10_000

    kind: Literal["opensearch"]
    address: str = Field(
        pattern=r"^https?://[A-Za-z0-9.-]+(:\d+)?(/[A-Za-z0-9._/-]*)?$",
        description="as in https://localhost:9200 (without a port: 443, or 9200 of http)",
    )
    verify: bool = Field(default=True, description="check the server's certificate")
    ca_file: str | None = Field(default=None, description="certificates to trust (null: those of the package certifi)")
    credentials: Annotated[str, Field(pattern="^[A-Z][A-Z0-9_]*$")] = Field(
        default="OPENSEARCH", description="X: user and password are the environment variables X_USER and X_PASSWORD"
    )
    bulk_mib: float = Field(default=10.0, gt=0, le=100, description="MiB sent at once, at most")
    retries: int = Field(default=6, ge=0, le=20, description="further tries after answers 429, 502, 503 and 504")
    field: Literal["rank_features", "sparse_vector"] = Field(
        default="rank_features", description="how vectors are stored; sparse_vector needs OpenSearch 3.3"
    )
    shards: Positive = Field(default=1, description="primary shards")
    replicas: int = Field(default=0, ge=0, description="copies of each shard")
    segments: Positive | None = Field(default=1, description="segments per shard after the merge (null: none forced)")
    seismic: SeismicIndex = Field(default=SeismicIndex(), description="how a sparse_vector field is built")
    query: Literal["exact", "two_phase", "ann"] = Field(
        default="exact", description="two_phase: for rank_features; ann: for sparse_vector"
    )
    two_phase: TwoPhaseSearch = Field(default=TwoPhaseSearch(), description="parameters of two-phase queries")
    ann: SeismicSearch = Field(default=SeismicSearch(), description="parameters of approximate queries")

    @model_validator(mode="after")
    def _query_fits_field(self) -> "OpenSearchEngine":
        if (self.query == "ann") != (self.field == "sparse_vector"):
            raise ValueError(
                f"query: {self.query} does not go with field: {self.field}; take exact or two_phase with "
                "rank_features, ann with sparse_vector"
            )
        return self


class MilvusEngine(Cluster):
    """Milvus: a server, or milvus-lite inside the process."""

    CONNECTION: ClassVar[frozenset[str]] = (Cluster.CONNECTION - {"retries"}) | {"credentials", "database"}
    MOST_RESULTS: ClassVar[int] = 16_384

    kind: Literal["milvus"]
    address: str = Field(
        default="", description="as in http://localhost:19530; empty: milvus-lite, its database in the index's folder"
    )
    credentials: Annotated[str, Field(pattern="^[A-Z][A-Z0-9_]*$")] = Field(
        default="MILVUS", description="X: the token is the environment variable X_TOKEN"
    )
    database: str = Field(default="default", description="database of the server")

    @field_validator("address")
    @classmethod
    def _is_a_server(cls, address: str) -> str:
        if address and not address.startswith(("http://", "https://")):
            raise ValueError("starts with http:// or https://, or is empty for milvus-lite")
        return address


Engine = Annotated[OpenSearchEngine | MilvusEngine, Field(discriminator="kind")]
