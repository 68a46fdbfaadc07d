"""The addresses of a review, ``/v1/review``, and its page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from ensemble_minerals.errors import ImageError, UserError
from ensemble_minerals.serving.problems import ProblemError
from ensemble_minerals.serving.review import SIDES, Review
from ensemble_minerals.serving.review_answers import (
    DecideRequest,
    ItemAnswer,
    ProgressAnswer,
    QueueAnswer,
    UndoRequest,
)
from ensemble_minerals.serving.static_files import REVIEWING, add_files


class ReviewRoutes:
    """Answers to the addresses of a review.

    Args:
        review: What is reviewed.
        name: Of the model.
        draw: Answers with what in a photo speaks for a class, as PNG; None where the model cannot tell.
    """

    def __init__(
        self, review: Review, name: str, draw: Callable[[bytes, int], Awaitable[Response]] | None
    ) -> None:
        self._review = review
        self._name = name
        self._draw = draw

    def add_to(self, app: FastAPI) -> None:
        """Add the addresses to an application."""
        add_files(app, REVIEWING)
        app.add_api_route("/v1/review", self.queue, response_model=QueueAnswer, summary="What to look at")
        app.add_api_route("/v1/review/items/{item}", self.item, response_model=ItemAnswer,
                          summary="One photo to look at, or a pair")  # fmt: skip
        app.add_api_route("/v1/review/photos/{photo}", self.photo, response_class=Response,
                          summary="A photo, as JPEG")  # fmt: skip
        app.add_api_route("/v1/review/photos/{photo}/heatmap", self.heat_map, response_class=Response,
                          summary="What in a photo speaks for a class, as PNG")  # fmt: skip
        app.add_api_route("/v1/review/decisions", self.decide, methods=["POST"],
                          response_model=ProgressAnswer, summary="Decide")  # fmt: skip
        app.add_api_route("/v1/review/undo", self.undo, methods=["POST"],
                          response_model=ProgressAnswer, summary="Take back the last decision")  # fmt: skip

    async def queue(self) -> QueueAnswer:
        """All that there is to look at."""
        review = self._review
        return QueueAnswer(
            name=self._name,
            classes=list(review.classes),
            new=review.new,
            corrections=review.file.name,
            heat_maps=self._draw is not None,
            items=[review.summary(number) for number in range(len(review.items))],
            disagreements=list(review.corrections.disagreements()),
        )

    async def item(self, item: int) -> ItemAnswer:
        """One photo, or a pair, with answers and neighbors."""
        return await run_in_threadpool(self._review.item, item)

    async def photo(self, photo: str, side: str = Query("large", pattern="^(small|large)$")) -> Response:
        """A photo of the review or one of its neighbors."""
        self._review.known(photo)
        content = await run_in_threadpool(self._review.shown, photo, SIDES[side])
        return Response(content, media_type="image/jpeg")

    async def heat_map(self, photo: str, label: str) -> Response:
        """What in a photo speaks for a class."""
        if self._draw is None:
            raise ProblemError(404, "the model has no network whose heat-map could be drawn here")
        if label not in self._review.classes:
            raise ProblemError(422, f"{label[:100]!r} is no class")
        content = await run_in_threadpool(self._review.content, photo)
        try:
            return await self._draw(content, self._review.classes.index(label))
        except ImageError as error:
            raise ProblemError(422, str(error)) from error

    async def decide(self, asked: DecideRequest) -> ProgressAnswer:
        """Add decisions to the file of corrections."""
        try:
            await run_in_threadpool(self._review.decide, asked.who, asked.decisions)
        except UserError as error:
            raise ProblemError(507, str(error)) from error
        return self._progress()

    async def undo(self, asked: UndoRequest) -> ProgressAnswer:
        """Take back what a person decided last."""
        try:
            item = await run_in_threadpool(self._review.undo, asked.who)
        except UserError as error:
            raise ProblemError(507, str(error)) from error
        return self._progress(item)

    def _progress(self, item: int | None = None) -> ProgressAnswer:
        review = self._review
        return ProgressAnswer(
            done=review.done(), item=item, disagreements=list(review.corrections.disagreements())
        )
