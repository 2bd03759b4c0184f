"""What every block of a config is made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError


def _no_flag(value: Any) -> Any:
    # Python takes True for 1, so `rows: true` would explain a single row.
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", "Input should be a number")
    return value


Whole = Annotated[int, BeforeValidator(_no_flag)]
Real = Annotated[float, BeforeValidator(_no_flag)]
#: a value as it may stand in a data column
Scalar = bool | int | float | str


class Block(BaseModel):
    """A mapping in the config: unknown keys are errors, values are never changed after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)
