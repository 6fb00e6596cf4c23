"""What the schema (config/schema.yaml) allows: defaults, and complaints that name key and values."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators  # type: ignore[import-untyped]

from hvcost.errors import ConfigError
from hvcost.wording import listed

KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "a mapping",
    "string": "a text",
}


@cache
def _schema(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def completed(config: Any, schema_path: Path) -> Any:
    schema = _schema(schema_path)
    complete = copy.deepcopy(config)
    validator = validators.extend(
        Draft202012Validator,
        {"properties": _properties_with_defaults, "pattern": _pattern},
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
            {"integer": _is_integer, "number": _is_number}
        ),
    )
    errors = sorted(validator(schema).iter_errors(complete), key=lambda error: error.json_path)
    raise_all([_complaint(error, schema) for error in errors])
    return complete


def _is_integer(_checker: Any, value: object) -> bool:
    """YAML's 2.0 is no integer: nobody boots so often."""
    return type(value) is int


def _is_number(_checker: Any, value: object) -> bool:
    """YAML has numbers that are none, and greater than all others."""
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[Any]:
    """In Python, `$` lets a newline follow; in JSON Schema, it does not."""
    if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _properties_with_defaults(
    validator: Any, properties: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[Any]:
    if isinstance(instance, dict):
        for key, value in properties.items():
            if "default" in value:
                instance.setdefault(key, copy.deepcopy(value["default"]))
    yield from Draft202012Validator.VALIDATORS["properties"](validator, properties, instance, schema)


def _complaint(error: Any, root: Mapping[str, Any]) -> str:
    path = ".".join(str(part) for part in error.absolute_path)
    key = path or "the configuration"
    prefix = f"{path}." if path else ""
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        unknown = [f"{prefix}{name}" for name in error.instance if name not in known]
        return f"{listed(unknown)}: unknown key; allowed in {key}: {listed(known)}"
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return "\n".join(
            f"{prefix}{name}: this key is missing; "
            f"allowed: {_allowed(error.schema['properties'][name], root)}"
            for name in missing
        )
    if error.validator == "oneOf":
        either = [name for choice in error.validator_value for name in choice["required"]]
        return f"{key}: allowed: one of {listed(either)}"
    if "propertyNames" in error.absolute_schema_path:
        key = f"{key}: the name"
    return f"{key}: {error.instance!r} is not allowed; allowed: {_allowed(error.schema, root)}"


def _allowed(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """The allowed values of a key in words."""
    if "$ref" in schema:
        return _allowed(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "enum" in schema:
        return listed(schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    text = " or ".join(KINDS[kind] for kind in kinds)
    if "minimum" in schema:
        text += f", {schema['minimum']}"
        text += f" to {schema['maximum']}" if "maximum" in schema else " or more"
    if "exclusiveMinimum" in schema:
        text += f", above {schema['exclusiveMinimum']}"
        text += f", up to {schema['maximum']}" if "maximum" in schema else ""
    if least := schema.get("minProperties") or schema.get("minItems"):
        text += f" with at least {'one entry' if least == 1 else f'{least} entries'}"
    if schema.get("uniqueItems"):
        text += ", none twice"
    if "properties" in schema:
        text += f" with the keys {listed(schema['properties'])}"
    elif "string" in kinds and "description" in schema:
        text += f": {schema['description']}"
    return text


def raise_all(complaints: list[str]) -> None:
    if complaints:
        raise ConfigError("\n".join(dict.fromkeys(complaints)))
