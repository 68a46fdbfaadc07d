"""Crystals and pebbles in a depth buffer.

World coordinates: x to the right, y down, z towards the camera. The image shows -1 to 1, without perspective.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.data.synthetic.textures import Field


def rotation(spin: float, tilt: float, turn: float) -> Field:
    """A rotation (3, 3): about the z axis of the solid, then of this axis away from the camera, then in the image."""

    def about(axis: int, angle: float) -> NDArray[np.float64]:
        matrix = np.eye(3)
        i, j = (k for k in range(3) if k != axis)
        matrix[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        return matrix

    return (about(2, turn) @ about(0, tilt) @ about(2, spin)).astype(np.float32)


@dataclass(frozen=True)
class Facets:
    """A convex solid: the points p with `normals @ p <= offsets`.

    Attributes:
        normals: Outward unit normals (n, 3).
        offsets: Distance of each face from the center (n,).
        radius: Radius of a sphere that holds the solid.
    """

    normals: Field
    offsets: Field
    radius: float


def box(rng: np.random.Generator, jitter: float = 0.1) -> Facets:
    """A cube with slightly different edges; the normals of faces 2k and 2k + 1 are along axis k."""
    edges = rng.uniform(1.0 - jitter, 1.0 + jitter, size=3)
    normals = np.concatenate([np.eye(3), -np.eye(3)])[[0, 3, 1, 4, 2, 5]]
    return Facets(normals.astype(np.float32), np.repeat(edges, 2).astype(np.float32), 1.75 * (1.0 + jitter))


def plate(rng: np.random.Generator, thickness: float, irregular: float) -> Facets:
    """A six-sided sheet; faces 0 and 1 are its large faces, so the cleavage of a mica is along its z axis."""
    angles = np.arange(6) * np.pi / 3 + irregular * rng.uniform(-0.5, 0.5, size=6)
    sides = np.stack([np.cos(angles), np.sin(angles), np.zeros(6)], axis=1)
    normals = np.concatenate([[[0, 0, 1], [0, 0, -1]], sides])
    reach = rng.uniform(1.0 - 0.6 * irregular, 1.0, size=6)
    offsets = np.r_[thickness, thickness, reach]
    return Facets(normals.astype(np.float32), offsets.astype(np.float32), 1.6)


def prism(rng: np.random.Generator, length: float) -> Facets:
    """A six-sided quartz prism of radius 1 with a six-faced point; faces 0 to 5 are the prism's own."""
    angles = np.arange(6) * np.pi / 3
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    slope = 0.62
    points = np.concatenate([np.c_[around * np.sqrt(1 - slope**2), np.full(6, z)] for z in (slope, -slope)])
    normals = np.concatenate([np.c_[around, np.zeros(6)], points])
    growth = rng.uniform(0.85, 1.15, size=12)
    offsets = np.r_[rng.uniform(0.85, 1.1, size=6), slope * length * growth]
    return Facets(normals.astype(np.float32), offsets.astype(np.float32), float(1.3 * length + 0.6))


def lump(rng: np.random.Generator, faces: int, stretch: tuple[float, float, float]) -> Facets:
    """A broken piece of rock: random planes around a stretched center."""
    normals = rng.standard_normal((faces, 3)) / np.asarray(stretch)
    normals = np.concatenate([normals, [list(n) for n in product((-0.6, 0.6), repeat=3)]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    support = np.sqrt(np.square(normals * stretch).sum(axis=1))
    offsets = support * rng.uniform(0.72, 1.0, size=len(normals))
    return Facets(normals.astype(np.float32), offsets.astype(np.float32), 1.5 * max(stretch))


@dataclass(frozen=True)
class _Pose:
    """Position of a solid in the world: p = turn @ (scale * local) + center."""

    turn: Field
    scale: Field
    center: Field
    normals: Field


class Relief:
    """A depth buffer: depth, solid and face that the camera sees in each pixel.

    Attributes:
        depth: Height towards the camera (side, side); minus infinity where nothing is.
        piece: Number of the solid, in the order they were added (side, side); -1 where nothing is.
        face: Number of the face of that solid (side, side); 0 on an ellipsoid.
        x: Horizontal world coordinates (side, side), distorted where outlines are rough.
        y: Vertical world coordinates (side, side), distorted likewise.
    """

    def __init__(
        self,
        side: int,
        warp: tuple[Field, Field] | None = None,
        zoom: float = 1.0,
        aim: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        axis = (((np.arange(side) + 0.5) * (2.0 / side) - 1.0) / zoom).astype(np.float32)
        self.side = side
        self.x = np.broadcast_to(axis[None, :] + np.float32(aim[0]), (side, side)).copy()
        self.y = np.broadcast_to(axis[:, None] + np.float32(aim[1]), (side, side)).copy()
        self._zoom = zoom
        self._aim = aim
        self._slack = 0.0
        if warp is not None:
            self.x += warp[0]
            self.y += warp[1]
            self._slack = float(max(np.abs(warp[0]).max(), np.abs(warp[1]).max()))
        self.depth = np.full((side, side), -np.inf, dtype=np.float32)
        self.piece = np.full((side, side), -1, dtype=np.intp)
        self.face = np.zeros((side, side), dtype=np.intp)
        self._poses: list[_Pose] = []

    @property
    def pieces(self) -> int:
        """Number of solids added so far."""
        return len(self._poses)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """True where there is something in front of the background (side, side)."""
        return self.piece >= 0

    def local(self) -> Field:
        """The point in each pixel, in the coordinates of its solid (side, side, 3); 0 where there is none."""
        mask = self.mask
        piece = self.piece[mask]
        point = np.stack([self.x[mask], self.y[mask], self.depth[mask]], axis=1)
        point -= np.stack([pose.center for pose in self._poses])[piece]
        frames = np.stack([pose.turn / pose.scale for pose in self._poses])
        placed = np.zeros((self.side, self.side, 3), dtype=np.float32)
        placed[mask] = np.einsum("pi,pij->pj", point, frames[piece])
        return placed

    def normals(self) -> Field:
        """Outward unit normals of the masked pixels, in world coordinates (n, 3)."""
        mask = self.mask
        widest = max(len(pose.normals) for pose in self._poses)
        table = np.zeros((self.pieces, widest, 3), dtype=np.float32)
        smooth = np.zeros(self.pieces, dtype=bool)
        for number, pose in enumerate(self._poses):
            smooth[number] = not len(pose.normals)
            table[number, : len(pose.normals)] = pose.normals @ pose.turn.T
        piece = self.piece[mask]
        normals: Field = (
            table[piece, self.face[mask]] if widest else np.zeros((len(piece), 3), dtype=np.float32)
        )
        curved = smooth[piece]
        if curved.any():
            frames = np.stack([pose.turn / pose.scale for pose in self._poses])
            outward = np.einsum("pj,pij->pi", self.local()[mask][curved], frames[piece[curved]])
            normals[curved] = outward / (np.linalg.norm(outward, axis=1, keepdims=True) + 1e-9)
        return normals

    def add_facets(self, solid: Facets, turn: Field, center: Sequence[float], size: float) -> None:
        """Add a convex solid, scaled by `size`, turned (3, 3) and moved to `center`."""
        size = float(size)
        center = [float(c) for c in center]
        window = self._begin(turn, (size, size, size), center, solid.normals, size * solid.radius)
        if window is None:
            return
        x, y = self.x[window] - center[0], self.y[window] - center[1]
        top = np.full(x.shape, np.inf, dtype=np.float32)
        bottom = np.full(x.shape, -np.inf, dtype=np.float32)
        face = np.zeros(x.shape, dtype=np.intp)
        for index, (normal, offset) in enumerate(zip(solid.normals @ turn.T, solid.offsets, strict=True)):
            steep = normal[2] if abs(normal[2]) > 1e-4 else np.float32(1e-4)
            height = (size * offset / steep) - (normal[0] / steep) * x - (normal[1] / steep) * y
            if steep > 0:
                np.copyto(face, index, where=height < top)
                np.minimum(top, height, out=top)
            else:
                np.maximum(bottom, height, out=bottom)
        self._keep(window, top > bottom, top + center[2], face)

    def add_ellipsoid(self, axes: Sequence[float], turn: Field, center: Sequence[float]) -> None:
        """Add an ellipsoid with the half axes `axes`, turned (3, 3) and moved to `center`."""
        center = [float(c) for c in center]
        window = self._begin(turn, axes, center, np.zeros((0, 3), dtype=np.float32), max(axes))
        if window is None:
            return
        x, y = self.x[window] - center[0], self.y[window] - center[1]
        form = (turn / np.square(np.asarray(axes, dtype=np.float32))) @ turn.T
        half = (form[0, 2] * x + form[1, 2] * y) / form[2, 2]
        rest = (form[0, 0] * x * x + 2 * form[0, 1] * x * y + form[1, 1] * y * y - 1) / form[2, 2]
        root = half * half - rest
        top = np.sqrt(np.maximum(root, 0)) - half
        self._keep(window, root > 0, top + center[2], np.zeros(x.shape, dtype=np.intp))

    def _begin(
        self, turn: Field, scale: Sequence[float], center: Sequence[float], normals: Field, reach: float
    ) -> tuple[slice, slice] | None:
        """Add the pose of a solid; the rows and columns that it may cover, or None if it is outside the image."""
        self._poses.append(
            _Pose(turn, np.asarray(scale, dtype=np.float32), np.asarray(center, dtype=np.float32), normals)
        )
        reach += self._slack
        place = [self._zoom * (c - a) for c, a in zip(center[:2], self._aim, strict=True)]
        reach *= self._zoom
        low = [max(int((p - reach + 1.0) * self.side / 2), 0) for p in place]
        high = [int((p + reach + 1.0) * self.side / 2) + 2 for p in place]
        if min(high) <= 0 or max(low) >= self.side:
            return None
        return slice(low[1], high[1]), slice(low[0], high[0])

    def _keep(
        self, window: tuple[slice, slice], inside: NDArray[np.bool_], depth: Field, face: NDArray[np.intp]
    ) -> None:
        """Write the last solid into the pixels in which it is nearest."""
        seen = inside & (depth > self.depth[window])
        np.copyto(self.depth[window], depth, where=seen)
        np.copyto(self.piece[window], self.pieces - 1, where=seen)
        np.copyto(self.face[window], face, where=seen)
