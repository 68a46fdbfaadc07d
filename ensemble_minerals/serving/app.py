"""The application: a page, and the interface for programs."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp

from ensemble_minerals.errors import ImageError, UserError
from ensemble_minerals.prediction.evidence import Evidence, weigh
from ensemble_minerals.prediction.hand_tests import HandTests, as_readings
from ensemble_minerals.prediction.photo_predictor import PhotoPredictor
from ensemble_minerals.prediction.table import Predictions
from ensemble_minerals.serving.answers import (
    ModelAnswer,
    PredictAnswer,
    PropertyAnswer,
    WeighAnswer,
    WeighRequest,
    evidence_answer,
    photo_answers,
)
from ensemble_minerals.serving.guard import REPORT_POLICY, Flight, Guard
from ensemble_minerals.serving.keeping import Keeper
from ensemble_minerals.serving.limits import ServingLimits
from ensemble_minerals.serving.metrics import MEDIA_TYPE, ServerMetrics
from ensemble_minerals.serving.problems import ProblemError, of_defect, of_http, of_problem, of_validation
from ensemble_minerals.serving.queue import PhotoQueue
from ensemble_minerals.serving.review import Review
from ensemble_minerals.serving.review_app import ReviewRoutes
from ensemble_minerals.serving.static_files import PREDICTING, add_files
from ensemble_minerals.serving.uploads import read_upload

_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "evidence": {"type": "string", "description": 'JSON, such as {"hardness": 3}'},
                        "sets": {"type": "string", "description": "level of prediction sets, such as 0.95"},
                        "advise": {"type": "string", "description": "1 for what to test next"},
                    },
                }
            }
        },
    }
}


@dataclass(frozen=True)
class Served:
    """What is served.

    Attributes:
        predictor: The model.
        name: Of the model.
        kind: ``bundle`` or ``student``.
        version: Of this package.
        digest: Of the model's index.
        card: Text of the model card; empty if there is none.
        report: The model's report page; empty if there is none.
        heat_map: Draws what speaks for a class in a photo, (height, width, 3) of uint8; None where it cannot.
        hosts: Names by which the server may be addressed.
        token: That requests must show.
        keep: Where photos and answers are kept; nowhere if None.
        review: Photos that people decide about; None where nobody does.
        limits: Bounds.
    """

    predictor: PhotoPredictor
    name: str
    kind: str
    version: str
    digest: str
    card: str = ""
    report: str = ""
    heat_map: Callable[[bytes, int], np.ndarray[Any, np.dtype[np.uint8]]] | None = None
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    token: str | None = None
    keep: Path | None = None
    review: Review | None = None
    limits: ServingLimits = field(default_factory=ServingLimits)


class Server:
    """The answers to all addresses of one model.

    Args:
        served: What is served.
    """

    def __init__(self, served: Served) -> None:
        self.served = served
        self.predictor = served.predictor
        self.flight = Flight()
        self.queue = PhotoQueue(served.predictor, served.limits)
        self.metrics = ServerMetrics(lambda: self.queue.waiting, lambda: self.flight.n_bytes)
        self.keeper = None if served.keep is None else Keeper(served.keep)
        properties = served.predictor.properties
        classes = served.predictor.taxonomy.classes
        self.tests = None if properties is None else HandTests(properties, classes)
        self._drawing = asyncio.Semaphore(1)
        self.is_draining = False

    def app(self) -> ASGIApp:
        """The application."""

        @asynccontextmanager
        async def life(_app: FastAPI) -> AsyncIterator[None]:
            yield
            self.is_draining = True
            await run_in_threadpool(self.queue.close)

        app = FastAPI(
            title="ensemble-minerals",
            version=self.served.version,
            docs_url=None,
            redoc_url=None,
            lifespan=life,
        )
        add_files(app, PREDICTING)
        if self.served.review is not None:
            draw = None if self.served.heat_map is None else self._draw
            ReviewRoutes(self.served.review, self.served.name, draw).add_to(app)
        app.add_api_route("/v1/predict", self.predict, methods=["POST"], response_model=PredictAnswer,
                          openapi_extra=_UPLOAD, summary="Answer photos")  # fmt: skip
        app.add_api_route("/v1/weigh", self.weigh, methods=["POST"], response_model=WeighAnswer,
                          summary="Weigh evidence in with an answer")  # fmt: skip
        app.add_api_route("/v1/heatmap", self.heat_map, methods=["POST"], openapi_extra=_UPLOAD,
                          response_class=Response, summary="What speaks for the answer, as PNG")  # fmt: skip
        app.add_api_route("/v1/model", self.model, response_model=ModelAnswer, summary="What the model is")
        app.add_api_route("/v1/card", self.card, response_class=PlainTextResponse, summary="The model card")
        app.add_api_route(
            "/v1/report", self.report, response_class=Response, summary="The report of the model"
        )
        app.add_api_route("/healthz", self.healthz, summary="Whether the server lives")
        app.add_api_route("/readyz", self.readyz, summary="Whether the server takes photos")
        app.add_api_route(
            "/metrics", self.show_metrics, response_class=Response, summary="Counters for Prometheus"
        )
        app.add_exception_handler(Exception, of_defect)
        app.add_exception_handler(ProblemError, of_problem)
        app.add_exception_handler(HTTPException, of_http)
        app.add_exception_handler(RequestValidationError, of_validation)
        served = self.served
        paths = [str(getattr(route, "path", "")) for route in app.routes]
        return Guard(
            app, hosts=served.hosts, token=served.token, limits=served.limits, flight=self.flight,
            metrics=self.metrics, paths=paths,
        )  # fmt: skip

    async def predict(self, request: Request) -> PredictAnswer:
        """Answer the photos of a request; those that cannot be read have a reason."""
        upload = await read_upload(request, self.served.limits)
        if (upload.evidence or upload.advise) and self.tests is None:
            raise ProblemError(
                422, "evidence: the model knows no properties of its classes that a hand could test"
            )
        try:
            readings = () if self.tests is None else as_readings(upload.evidence, self.tests)
        except UserError as error:
            raise ProblemError(422, f"evidence: {error}") from error
        found = await self._answer(upload.photos, upload.names, upload.sets)
        evidence = Evidence(self.tests, [readings] * len(found), advise=upload.advise)
        answers = photo_answers(await run_in_threadpool(weigh, found, evidence))
        for answer in answers:
            self.metrics.photo(answer.status)
        if self.keeper is not None:
            await run_in_threadpool(self.keeper.keep, upload.photos, answers)
        if not found.answered.any():
            errors = [{"name": answer.name, "reason": answer.reason} for answer in answers]
            raise ProblemError(
                422, f"no photo could be read: {answers[0].name}: {answers[0].reason}", errors=errors
            )
        return PredictAnswer(model=self.served.digest, answers=answers)

    async def weigh(self, asked: WeighRequest) -> WeighAnswer:
        """Weigh evidence in with the probabilities of a photo that was answered before."""
        classes = self.predictor.taxonomy.classes
        if self.tests is None:
            raise ProblemError(
                422, "evidence: the model knows no properties of its classes that a hand could test"
            )
        shares = [asked.probabilities.get(name, -1.0) for name in classes]
        if (
            len(asked.probabilities) != len(classes)
            or not all(0 <= share <= 1 for share in shares)
            or not any(shares)
        ):
            raise ProblemError(422, "probabilities: must be those of an answer, one for each class")
        try:
            given = {name: value for name, value in asked.evidence.items() if str(value).strip()}
            readings = as_readings(given, self.tests)
        except UserError as error:
            raise ProblemError(422, f"evidence: {error}") from error
        proba = np.array([shares])
        photo = Predictions(
            (Path("photo"),), ("",), proba, proba[:, None], ("photo",), self.predictor.taxonomy
        )
        found = weigh(photo, Evidence(self.tests, [readings], advise=True))
        return WeighAnswer(
            with_evidence=evidence_answer(found, 0),
            advice=found.advice[0] if found.advice else "",
        )

    async def heat_map(self, request: Request) -> Response:
        """Draw what speaks for the answer to a photo."""
        if self.served.heat_map is None:
            raise ProblemError(404, "the model has no network whose heat-map could be drawn here")
        upload = await read_upload(request, self.served.limits)
        photo = upload.photos[0]
        found = await self._answer([photo], upload.names[:1], None)
        if not found.answered.all():
            raise ProblemError(422, f"{upload.names[0]}: {found.reasons[0]}")
        try:
            return await self._draw(photo, int(found.proba[0].argmax()))
        except ImageError as error:
            raise ProblemError(422, str(error)) from error

    async def model(self) -> ModelAnswer:
        """What the model is, and what it takes."""
        served, taxonomy = self.served, self.predictor.taxonomy
        groups = [taxonomy.group_names[group] for group in taxonomy.group_of()]
        return ModelAnswer(
            name=served.name,
            kind=served.kind,
            version=served.version,
            digest=served.digest,
            classes=list(taxonomy.classes),
            groups=dict(zip(taxonomy.classes, groups, strict=True)),
            members=list(self.predictor.members),
            properties=[] if self.tests is None else _properties(self.tests),
            demonstration=self.predictor.is_demonstration,
            heat_maps=served.heat_map is not None,
            report=bool(served.report),
            card=bool(served.card),
            keeps=self.keeper is not None,
            limits={"photos": served.limits.photos, "bytes": served.limits.body_bytes},
        )

    async def card(self) -> Response:
        """The model card."""
        if not self.served.card:
            raise ProblemError(404, "the model has no card")
        return PlainTextResponse(self.served.card)

    async def report(self) -> Response:
        """The report, where it lies beside the bundle."""
        if not self.served.report:
            raise ProblemError(404, "the model has no report; `ensemble-minerals report` writes one")
        headers = {"Content-Security-Policy": REPORT_POLICY}
        return Response(self.served.report, headers=headers, media_type="text/html; charset=utf-8")

    async def healthz(self) -> JSONResponse:
        """Whether the server lives."""
        return JSONResponse(
            {"status": "ok"} if self.queue.is_alive else {"status": "ended"},
            200 if self.queue.is_alive else 503,
        )

    async def readyz(self) -> JSONResponse:
        """Whether the server takes photos."""
        ready = self.queue.is_alive and not self.is_draining
        return JSONResponse({"status": "ready" if ready else "ending"}, 200 if ready else 503)

    async def show_metrics(self) -> Response:
        """Counters."""
        return Response(self.metrics.text(), media_type=MEDIA_TYPE)

    async def _draw(self, photo: bytes, target: int) -> Response:
        """What in a photo speaks for a class; one is drawn at a time."""
        assert self.served.heat_map is not None
        try:
            async with asyncio.timeout(self.served.limits.answer_seconds), self._drawing:
                drawn = await run_in_threadpool(self.served.heat_map, photo, target)
        except TimeoutError as error:
            raise _too_slow(self.served.limits) from error
        file = io.BytesIO()
        Image.fromarray(drawn).save(file, "PNG")
        return Response(file.getvalue(), media_type="image/png")

    async def _answer(self, photos: Any, names: Any, sets: float | None) -> Predictions:
        future = self.queue.submit(photos, names, sets)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self.served.limits.answer_seconds)
        except TimeoutError as error:
            raise _too_slow(self.served.limits) from error


def _too_slow(limits: ServingLimits) -> ProblemError:
    return ProblemError(
        503, f"not answered within {limits.answer_seconds:g} s; try again", headers={"Retry-After": "10"}
    )


def _properties(tests: HandTests) -> list[PropertyAnswer]:
    numbers, words = tests.properties.numbers, tests.properties.words
    found = []
    for name in tests.names:
        if name in numbers:
            number = numbers[name]
            how = f"{number.how} {', '.join(number.tools)}".strip()
            found.append(PropertyAnswer(name=name, unit=number.unit, scale=number.scale, how=how))
        else:
            found.append(PropertyAnswer(name=name, values=list(words[name].values), how=words[name].how))
    return found
