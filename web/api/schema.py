"""What the OpenAPI document says of every endpoint, so that no view has to."""

from typing import Any

ERROR = "Error"
INVALID = "Invalid"

COMPONENTS: dict[str, Any] = {
    ERROR: {
        "type": "object",
        "properties": {"detail": {"type": "string"}},
        "required": ["detail"],
    },
    INVALID: {
        "description": "For each field what is wrong with it; `detail` if it is no JSON at all.",
        "type": "object",
        "additionalProperties": {
            "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
        },
    },
}


def add_errors(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add to each operation the errors that it can answer. A hook of drf-spectacular."""
    result["components"]["schemas"] |= COMPONENTS
    for path, operations in result["paths"].items():
        for operation in operations.values():
            for status, name in _errors(path, operation).items():
                content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
                operation["responses"].setdefault(
                    str(status), {"description": DESCRIPTIONS[status], "content": content}
                )
    return result


DESCRIPTIONS = {
    400: "Something that was sent is wrong.",
    401: "No token, or one that does not count.",
    403: "Not allowed.",
    404: "Not here, or not yours.",
    406: "Only JSON can be answered.",
    415: "Only JSON is understood.",
    429: "Too many requests; Retry-After says when to try again.",
}


def _errors(path: str, operation: dict[str, Any]) -> dict[int, str]:
    found = {406: ERROR, 429: ERROR}
    if "requestBody" in operation:
        found |= {400: INVALID, 415: ERROR}
    if any(parameter["in"] == "query" for parameter in operation.get("parameters", ())):
        found |= {400: INVALID}
    if "{" in path:
        found |= {404: ERROR}
    if any(operation.get("security", ())):
        found |= {401: ERROR, 403: ERROR}
    return found
