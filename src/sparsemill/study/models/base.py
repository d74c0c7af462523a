"""What every config model is built on: names, kinds of values, unknown keys refused."""

import inspect
import re
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from sparsemill.study.hints import nearest

NAME, COMMIT = r"^[A-Za-z0-9][A-Za-z0-9._-]*$", "^[0-9a-f]{40}$"
LONGEST_NAME = 80
Name = Annotated[str, Field(pattern=NAME, max_length=LONGEST_NAME)]
Positive = Annotated[int, Field(gt=0)]
Revision = Annotated[str, Field(pattern=COMMIT)]
Device = Literal["auto", "cpu", "cuda"]
LATER = "later"
"""Marks a key that came after results were made (`Annotated[type, LATER]`): at its default it is in no dump, so that
the specs of those results stay the same."""
Precision = Literal["auto", "fp32", "bf16"]
PRECISION = (
    "number format of the matrix products; auto: bf16 where the device multiplies it natively, else fp32 (the manifest "
    "says which)"
)


def canonical_measure(name: str) -> str:
    """The name that results have: mean average precision is `AP`, whatever the config calls it."""
    return re.sub(r"^MAP(?=@|$)", "AP", name)


def arxiv_id(value: Any) -> Any:
    """An arXiv id that YAML read as a number, as the text that it was; anything else as it is.

    Ids have four digits after the point up to 2014 and five since, and start with year and month.
    """
    if isinstance(value, float) and 704 <= value < 10_000:
        text = f"{value:.5f}" if value >= 1501 else f"{value:09.4f}"
        return text if float(text) == value else value
    return value


Paper = Annotated[str, BeforeValidator(arxiv_id)]
Measure = Annotated[str, AfterValidator(canonical_measure)]
Normalisation = Literal["minmax", "zscore", "rank", "softmax", "none"]
Scale = Literal["demo", "one-gpu", "paper"]

Schedule = Literal["quadratic", "linear"]


class Model(BaseModel):
    """Base of every config model: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _booleans_are_no_numbers(cls, values: Any) -> Any:
        # YAML reads `yes` and `on` as true, which would pass for 1.
        for key, value in values.items() if isinstance(values, dict) else ():
            boolean = any(isinstance(one, bool) for one in (value if isinstance(value, list) else [value]))
            if boolean and key in cls.model_fields and cls.model_fields[key].annotation is not bool:
                raise ValueError(f"{key} is neither true nor false; give it a value of its type")
        return values

    @model_validator(mode="before")
    @classmethod
    def _null_may_arrive_as_text(cls, values: Any) -> Any:
        # Everything in a mapping or list on the command line does.
        if not isinstance(values, dict):
            return values
        nulls = [key for key, value in values.items() if value == "null" and cls._may_be_null(key)]
        return {**values, **dict.fromkeys(nulls)}

    @classmethod
    def _may_be_null(cls, key: str) -> bool:
        return key in cls.model_fields and type(None) in get_args(cls.model_fields[key].annotation)

    @model_serializer(mode="wrap")
    def _leave_out_later_keys(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        later = {key for key, field in type(self).model_fields.items() if LATER in field.metadata}
        default = {key for key in later if getattr(self, key) == type(self).model_fields[key].get_default()}
        dumped: dict[str, Any] = serialize(self)
        return {key: value for key, value in dumped.items() if key not in default}


def models_in(annotation: Any) -> list[type[Model]]:
    """The config models that a type annotation is made of."""
    if inspect.isclass(annotation) and issubclass(annotation, Model):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


Assumed = Annotated[
    dict[str, str],
    Field(
        description="key (dotted below `regulariser`) -> evidence, for values that no paper states; the manifest and "
        "MLflow show it, and changing it retrains nothing"
    ),
]


def check_assumed(model: type[Model], assumed: dict[str, str]) -> None:
    """Raise a ValueError for the first dotted key that `model` does not have, or that has no evidence."""
    for key, evidence in assumed.items():
        level: list[type[Model]] = [model]
        for part in key.split("."):
            fields = [owner.model_fields[part] for owner in level if part in owner.model_fields]
            if not fields:
                valid = [name for owner in level for name in owner.model_fields]
                raise ValueError(f"assumed: no key {key!r}; {nearest(part, valid)}")
            level = [inner for field in fields for inner in models_in(field.annotation)]
        if not evidence.strip():
            raise ValueError(f"assumed: {key} needs its evidence in a few words")
