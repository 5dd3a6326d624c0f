"""What a client is told when its request cannot be served: the error object of the OpenAI API."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence

from mindformers.errors import MindFormersError

TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class RefusedError(MindFormersError):
    """A request that is answered with an HTTP error."""

    def __init__(self, status: int, message: str, code: Optional[str] = None, param: Optional[str] = None):
        self.status, self.code, self.param = status, code, param
        super().__init__(message)

    def body(self) -> Dict[str, Any]:
        """Return the error object."""
        kind = TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


def refusal_of(problems: Sequence[Mapping[str, Any]]) -> RefusedError:
    """Return the refusal for what pydantic found wrong in a request."""
    first = problems[0]
    if first["type"] == "json_invalid":
        return RefusedError(400, f"the body is no JSON: {first['ctx']['error']}", "invalid_json")
    param = ".".join(str(part) for part in first["loc"][1:]) or None
    if first["type"] == "extra_forbidden":
        return RefusedError(400, f"unknown parameter '{param}'; leave it out", "unknown_parameter", param)
    if param is None and first["type"] != "value_error":
        return RefusedError(400, "the body must be a JSON object sent as application/json", "invalid_body")
    return RefusedError(400, f"{param or 'body'}: {first['msg']}", "invalid_value", param)
