"""JSON Schemas of the OCSF classes that exports use, derived from the published schema.

    git -C OCSF-SCHEMA archive v1.8.0 | tar -x -C FOLDER
    python -m tests.support.derive_ocsf FOLDER > tests/data/ocsf/classes.json

Required attributes, types, enumerations, patterns and constraints are taken over, and no other
attribute is allowed. Attributes of profiles are left out, since our events declare none; objects
that our events do not hold are any object.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CLASSES = {
    3001: "iam/account_change",
    3002: "iam/authentication",
    3004: "iam/entity_management",
    3005: "iam/user_access",
    6003: "application/api_activity",
}
OBJECTS = {
    "actor", "api", "managed_entity", "metadata", "network_endpoint", "organization", "product",
    "request", "resource_details", "service", "session", "user",
}  # fmt: skip
_PLAIN = {
    "boolean_t": "boolean", "integer_t": "integer", "long_t": "integer", "float_t": "number",
    "string_t": "string",
}  # fmt: skip


class Derived:
    """What is read from one checkout of the schema."""

    def __init__(self, root: Path) -> None:
        self.root = root
        dictionary = self._read("dictionary.json")
        self.known = dictionary["attributes"]
        self.types = dictionary["types"]["attributes"]
        self.categories = self._read("categories.json")["attributes"]
        self.events = {
            found["name"]: found
            for path in sorted((root / "events").rglob("*.json"))
            if "name" in (found := json.loads(path.read_text()))
        }

    def _read(self, path: str) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.root / path).read_text())
        return read

    def all(self) -> dict[str, Any]:
        """The schema of every class, by its uid, over one set of objects."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "version": self._read("version.json")["version"],
            "classes": {uid: self._class(path) for uid, path in CLASSES.items()},
            "$defs": {name: self._object(name) for name in sorted(OBJECTS)},
        }

    def _class(self, path: str) -> dict[str, Any]:
        raw = self._read(f"events/{path}.json")
        attributes, constraints, category = self._merged(raw, self.events)
        made = self._schema(attributes, constraints)
        within = self.categories[category]["uid"]
        uid = within * 1000 + raw["uid"]
        properties = made["properties"]
        activities = properties["activity_id"]["enum"]
        properties["category_uid"] = {"const": within}
        properties["class_uid"] = {"const": uid}
        properties["type_uid"] = {"enum": [uid * 100 + each for each in activities]}
        return made

    def _object(self, name: str) -> dict[str, Any]:
        objects = {
            path.stem: json.loads(path.read_text()) for path in (self.root / "objects").glob("*")
        }
        attributes, constraints, _ = self._merged(objects[name], objects)
        return self._schema(attributes, constraints)

    def _merged(
        self, raw: dict[str, Any], among: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], str]:
        """Attributes, constraints and category with those that are inherited."""
        attributes: dict[str, Any] = {}
        constraints: dict[str, Any] = {}
        category = ""
        if raw.get("extends"):
            attributes, constraints, category = self._merged(among[raw["extends"]], among)
        for name, own in raw["attributes"].items():
            if name == "$include":
                continue
            given = attributes.get(name, {})
            enum = given.get("enum", {}) | own.get("enum", {})
            attributes[name] = given | own | ({"enum": enum} if enum else {})
        return attributes, raw.get("constraints", constraints), raw.get("category", category)

    def _schema(self, attributes: dict[str, Any], constraints: dict[str, Any]) -> dict[str, Any]:
        own = {name: each for name, each in attributes.items() if not each.get("profile")}
        made: dict[str, Any] = {
            "type": "object",
            "additionalProperties": False,
            "required": [
                name for name, each in own.items() if each.get("requirement") == "required"
            ],
            "properties": {name: self._attribute(name, each) for name, each in own.items()},
        }
        kinds = {"at_least_one": "anyOf", "just_one": "oneOf"}
        for kind, names in constraints.items():
            made[kinds[kind]] = [{"required": [name]} for name in names]
        return made

    def _attribute(self, name: str, own: dict[str, Any]) -> dict[str, Any]:
        known = self.known[name] | {k: v for k, v in own.items() if k in {"type", "is_array"}}
        enum = known.get("enum", {}) | own.get("enum", {})
        made = self._type(known["type"], enum)
        return {"type": "array", "items": made} if known.get("is_array") else made

    def _type(self, kind: str, enum: dict[str, Any]) -> dict[str, Any]:
        if kind == "json_t":
            return {}
        if kind not in self.types:
            return {"$ref": f"#/$defs/{kind}"} if kind in OBJECTS else {"type": "object"}
        told = self.types[kind]
        plain = _PLAIN[told.get("type", kind)]
        if self.types.get(told.get("type", ""), {}).get("type"):
            plain = _PLAIN[self.types[told["type"]]["type"]]
        made: dict[str, Any] = {"type": plain}
        if "regex" in told:
            made["pattern"] = told["regex"]
        if "max_len" in told:
            made["maxLength"] = told["max_len"]
        if "range" in told:
            made["minimum"], made["maximum"] = told["range"]
        if enum:
            made["enum"] = [int(each) if plain == "integer" else each for each in enum]
        return made


if __name__ == "__main__":
    print(json.dumps(Derived(Path(sys.argv[1])).all(), sort_keys=True, separators=(",", ":")))
