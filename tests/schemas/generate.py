"""Writes written.json: what generators of JSON schemas write, each by itself.

`python generate.py ZOD.json >written.json` in the environment of scripts/dev clients; ZOD.json is
what generate.mjs prints.
"""

import dataclasses
import datetime
import decimal
import enum
import ipaddress
import json
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Optional

import langchain_core.utils.function_calling as langchain
import llama_index.core.tools as llama_index
import msgspec
import openai
import pydantic
import pydantic_ai
from instructor.v2.core.schema import generate_openai_schema
from openai.lib._pydantic import to_strict_json_schema
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Address(BaseModel):
    """Where somebody lives."""

    street: str = Field(max_length=20, description="With number")
    code: str = Field(pattern=r"^\d{5}$")
    country: Literal["de", "fr"] = "de"


class Person(BaseModel):
    name: str = Field(min_length=1, max_length=12, title="The name", examples=["Ada"])
    age: int | None = Field(default=None, ge=0, lt=150)
    address: Address
    other: Address | None = None
    colours: list[Colour] = Field(default_factory=list, max_length=3)
    size: Size = Size.SMALL


class Formats(BaseModel):
    at: datetime.datetime
    day: datetime.date
    time: datetime.time
    span: datetime.timedelta
    id: uuid.UUID
    site: AnyUrl
    four: ipaddress.IPv4Address
    six: ipaddress.IPv6Address | None = None
    path: Path = Path("/")
    raw: bytes = b""
    secret: pydantic.SecretStr
    data: pydantic.Base64Bytes


class Money(BaseModel):
    amount: decimal.Decimal
    exact: decimal.Decimal = Field(max_digits=6, decimal_places=2)
    rate: float = Field(gt=0, le=1, multiple_of=0.25)
    whole: pydantic.PositiveInt = 1


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = Field(ge=0, le=9)


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    tricks: list[str] = []


class Pets(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    more: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = []
    loose: Cat | Dog | str | None = None


class Node(BaseModel):
    value: int
    children: list["Node"] = []
    parent: Optional["Node"] = None


class Maps(BaseModel):
    free: dict[str, Any] = {}
    counts: dict[str, int]
    named: dict[Colour, float] = {}
    literal: dict[Literal["a", "b"], Address] = {}
    matched: dict[Annotated[str, Field(pattern="^x-[a-z]+$")], str] = {}
    numbered: dict[int, bool] = {}


class Tuples(BaseModel):
    pair: tuple[int, str]
    many: tuple[float, ...]
    fixed: list[bool] = Field(min_length=2, max_length=2)
    anything: Any = None
    flags: set[Literal["a", "b", "c"]] = set()


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    known: str


class Closed(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"known": "x"}], "$comment": "no"}
    )
    known: str = Field(alias="Known", deprecated=True)


class Typed(TypedDict, total=False):
    title: str
    year: int


class Point(NamedTuple):
    x: float
    y: float = 0.0


@dataclasses.dataclass
class Plain:
    name: str
    point: Point
    tags: list[str] = dataclasses.field(default_factory=list)


class Circle(msgspec.Struct, tag=True):
    radius: Annotated[float, msgspec.Meta(gt=0)]


class Square(msgspec.Struct, tag=True):
    side: int
    name: Annotated[str, msgspec.Meta(max_length=8)] | None = None


class Drawing(msgspec.Struct, forbid_unknown_fields=True):
    shapes: list[Circle | Square]
    at: datetime.datetime


def get_weather(city: str, days: int = 1, unit: Literal["C", "F"] = "C") -> str:
    """The weather in a city.

    Args:
        city: Where
        days: How many
        unit: Of temperature
    """
    return f"{city} {days} {unit}"


def no_arguments() -> str:
    """Nothing to say."""
    return ""


def many(people: list[Person], where: Address | None = None, **more: int) -> str:
    """Takes models."""
    return f"{people} {where} {more}"


def written() -> dict[str, Any]:
    out: dict[str, Any] = {}
    models: list[type[BaseModel]] = [Person, Formats, Money, Pets, Node, Maps, Tuples, Open, Closed]
    for model in models:
        out[f"pydantic {model.__name__}"] = model.model_json_schema()
        out[f"pydantic serialization {model.__name__}"] = model.model_json_schema(
            mode="serialization", by_alias=False
        )
    kinds: list[Any] = [
        Typed,
        Plain,
        list[Person],
        dict[str, Address],
        Cat | Dog,
        Optional[Node],  # noqa: UP045
        Point,
    ]
    for kind in kinds:
        out[f"pydantic adapter {kind}".replace("__main__.", "")] = TypeAdapter(kind).json_schema()
    for model in (Person, Pets, Node, Tuples):
        out[f"openai strict {model.__name__}"] = to_strict_json_schema(model)
        out[f"openai tool {model.__name__}"] = openai.pydantic_function_tool(model)["function"][
            "parameters"
        ]
    for model in (Person, Money, Pets, Maps):
        name = model.__name__
        out[f"instructor {name}"] = generate_openai_schema(model)["parameters"]
        out[f"langchain {name}"] = langchain.convert_to_openai_tool(model)["function"]["parameters"]
        out[f"langchain strict {name}"] = langchain.convert_to_openai_tool(model, strict=True)[
            "function"
        ]["parameters"]
        out[f"langchain schema {name}"] = langchain.convert_to_json_schema(model)
    functions: list[Callable[..., Any]] = [get_weather, no_arguments, many]
    for function in functions:
        name = function.__name__
        out[f"pydantic-ai {name}"] = pydantic_ai.Tool(function).function_schema.json_schema
        out[f"llama-index {name}"] = llama_index.FunctionTool.from_defaults(
            function
        ).metadata.get_parameters_dict()
        if function is not many:
            out[f"langchain {name}"] = langchain.convert_to_openai_tool(function)["function"][
                "parameters"
            ]
    out["langchain TypedDict"] = langchain.convert_to_openai_tool(Typed)["function"]["parameters"]
    out["msgspec Drawing"] = msgspec.json.schema(Drawing)
    out["msgspec union"] = msgspec.json.schema(Circle | Square)
    return out


if __name__ == "__main__":
    schemas = written() | json.loads(Path(sys.argv[1]).read_text())
    lines = (f"{json.dumps(name)}: {json.dumps(schema)}" for name, schema in schemas.items())
    print("{" + ",\n".join(lines) + "}")
