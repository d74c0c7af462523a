"""Train, index and evaluate learned sparse retrievers, and regenerate the tables of two papers."""

__version__ = "0.1.0"
