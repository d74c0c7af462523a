"""What the publishing stage is told."""

from typing import Any

from pydantic import Field, ValidationError

from sparsemill.errors import UserError
from sparsemill.study.models import Model


class Settings(Model):
    """The stage's spec."""

    experiment: str = Field(description="MLflow experiment of systems, tables and figures")
    engines: dict[str, str] = Field(description="system -> engine whose evaluations head its parent run, as in tables")
    rows: dict[str, list[str]] = Field(default={}, description="system -> `table/row label` of the rows it feeds")
    sweeps: dict[str, list[str]] = Field(default={}, description="sweep -> its base and the points of its grid")
    upload_mib: float = Field(default=5.0, ge=0, description="larger files are listed, not uploaded")
    stage_version: int | None = None

    def sweeps_of(self, system: str) -> str:
        """Tag of a system's runs: the sweeps that it belongs to, each between commas; empty for none."""
        found = [name for name, members in self.sweeps.items() if system in members]
        return f",{','.join(found)}," if found else ""

    @classmethod
    def read(cls, spec: dict[str, Any]) -> "Settings":
        """Check a spec.

        Raises:
            UserError: a key is missing, unknown, or of another type.
        """
        try:
            return cls.model_validate(spec)
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"publish: spec.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
