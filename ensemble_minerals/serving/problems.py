"""Errors as answers: problem+json (RFC 9457), in the words of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

MEDIA_TYPE = "application/problem+json"


class ProblemError(HTTPException):
    """A request that is not answered as it was meant.

    The framework lets an HTTP error pass where a body is read, and takes any other for a body that makes no sense.

    Args:
        status: HTTP status.
        detail: What is wrong, and the way out.
        headers: Of the answer.
        **more: Further members of the problem.
    """

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(status, detail, headers)
        self.more = more

    def response(self) -> Response:
        """The answer."""
        content = {
            "title": HTTPStatus(self.status_code).phrase,
            "status": self.status_code,
            "detail": self.detail,
            **self.more,
        }
        return JSONResponse(content, self.status_code, self.headers, media_type=MEDIA_TYPE)


def too_busy(seconds: float) -> ProblemError:
    """The problem of a full queue; says when to try again."""
    wait = str(max(1, round(seconds)))
    return ProblemError(
        429,
        f"as many photos as can be answered are waiting; try again in {wait} s",
        headers={"Retry-After": wait},
    )


async def of_problem(_request: Request, error: Exception) -> Response:
    """Answer a `ProblemError`."""
    assert isinstance(error, ProblemError)
    return error.response()


async def of_http(_request: Request, error: Exception) -> Response:
    """Answer an error of the framework: no such address, no such method."""
    status = int(getattr(error, "status_code", 500))
    return ProblemError(
        status, str(getattr(error, "detail", "")), headers=getattr(error, "headers", None)
    ).response()


async def of_validation(_request: Request, error: Exception) -> Response:
    """Answer a request whose JSON does not fit; its values are not repeated."""
    problems = [
        f"{'.'.join(str(step) for step in item['loc'][1:]) or 'the body'}: {item['msg']}"
        for item in getattr(error, "errors", list)()
    ]
    return ProblemError(422, "; ".join(problems[:5])).response()


async def of_defect(_request: Request, _error: Exception) -> Response:
    """Answer a request at which the server or the model failed; the traceback is in the log, and nowhere else."""
    return ProblemError(
        500, "the server failed at this request; its owner finds the reason in the log"
    ).response()
