"""What the index of a saved folder says: ``bundle.json`` of a bundle, ``student.json`` of a student."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ensemble_minerals.config.fields import Many, NotNegative, Section, as_tuple, wrong
from ensemble_minerals.config.networks import NetworkConfig
from ensemble_minerals.config.schema import DataConfig
from ensemble_minerals.ensemble.calibration import Temperature
from ensemble_minerals.features.extractor import fingerprint_of


def _plain_digest(value: str) -> str:
    if len(value) != 32 or not set(value) <= set("0123456789abcdef"):
        raise wrong("must be a digest of 32 hexadecimal digits")
    return value


def _names(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values or "" in values or len(set(values)) < len(values):
        raise wrong("must be a list of at least one name, each once and none empty")
    return values


def _class_names(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(_names(values)) < 2:
        raise wrong("must be a list of at least two classes")
    return values


Digest: TypeAlias = Annotated[str, AfterValidator(_plain_digest)]
Names: TypeAlias = Annotated[tuple[str, ...], AfterValidator(_names), BeforeValidator(as_tuple)]
ClassNames: TypeAlias = Annotated[tuple[str, ...], AfterValidator(_class_names), BeforeValidator(as_tuple)]
# Texts have no constraint of pydantic's: it refuses those of paths that are no UTF-8.


class ExtractorEntry(Section):
    """A feature extractor of a bundle.

    Attributes:
        facts: Its metadata, which decide its features.
        fingerprint: Digest of those.
        precision: In which the features of the fit were computed.
    """

    facts: dict[str, Any]
    fingerprint: Digest
    precision: Literal["float32", "bfloat16", "int8"]

    @model_validator(mode="after")
    def _check_fingerprint(self) -> Self:
        if fingerprint_of(self.facts) != self.fingerprint:
            raise wrong("facts: they are not those that the fingerprint belongs to")
        return self


class DataEntry(Section):
    """The photos of a fit.

    Attributes:
        digest: Of their contents and labels.
        root: Name of their folder.
        root_path: Where it was.
        files: Number of files.
        status: Number of files by status.
        classes: Number of usable photos by class.
        row_groups: Number of row groups.
        test: Number of photos of the test part.
    """

    digest: Digest
    root: str
    root_path: str | None = None
    files: int
    status: dict[str, int]
    classes: dict[str, int]
    row_groups: int
    test: int


class FailureEntry(Section):
    """A member that could not be fitted in a fold."""

    member: str
    fold: int
    reason: str


class TimeLimitEntry(Section):
    """The time limit of a fit, in seconds, and what it left out."""

    seconds: NotNegative
    estimated: NotNegative
    left_out: Many[str]


class Float32Check(Section):
    """How far the answers to some photos of the fit lie from those to their features in float32.

    Attributes:
        photos: How many were compared.
        largest_difference: Of any probability.
    """

    photos: int
    largest_difference: NotNegative


class CorrectionsEntry(Section):
    """What people's corrections did to the photos of a fit.

    Attributes:
        relabeled: Photos with another label than the data gave.
        kept: Photos whose label was confirmed.
        left_out: Photos that were not learned from.
        added: Photos that are not of the data.
        apart: Pairs of photos kept apart.
        together: Pairs of photos kept together.
        unmatched: Corrections that matched no photo.
        count: All corrections.
        by: How many were whose.
    """

    relabeled: int = 0
    kept: int = 0
    left_out: int = 0
    added: int = 0
    apart: int = 0
    together: int = 0
    unmatched: int = 0
    count: int = 0
    by: dict[str, int] = Field(default_factory=dict)


class IndexEntries(Section):
    """What the indexes of bundles and of students have in common.

    Attributes:
        format: Number of the format.
        classes: Names of the classes, in the order of the probabilities.
        packages: Versions of the packages that decided the numbers.
        notes: What the user should know.
        demonstration: Whether it was fitted on photos drawn by code.
        seed: Of the fit.
        files: Digest of every other file, by its name.
    """

    format: Literal[2]
    classes: ClassNames
    packages: dict[str, str] = Field(default_factory=dict)
    notes: Many[str] = ()
    demonstration: bool = False
    seed: int = 0
    files: dict[str, Digest]


class BundleIndex(IndexEntries):
    """``bundle.json``.

    Attributes:
        members: Names of the members.
        sources: The feature extractors.
        networks: Files of trained networks, by extractor.
        data: The photos of the fit.
        failures: Members that failed in a fold.
        time_limit: Of the fit.
        float32_check: Where features of the fit were computed in another precision.
        corrections: What people's corrections did.
    """

    members: Names
    sources: dict[str, ExtractorEntry]
    networks: dict[str, Names] = Field(default_factory=dict)
    data: DataEntry
    failures: Many[FailureEntry] = ()
    time_limit: TimeLimitEntry | None = None
    float32_check: Float32Check | None = None
    corrections: CorrectionsEntry | None = None


class StudentDataEntry(DataConfig):
    """Which photos were read, and the digest of those that the student learned from.

    Attributes:
        digest: Of their contents and labels.
        root_path: Where they were.
    """

    digest: Digest
    root_path: str | None = None


class TeacherEntry(Section):
    """The bundle that a student learned from."""

    digest: Digest
    members: Names
    temperature: Temperature | None = None


class StudentIndex(IndexEntries):
    """``student.json``.

    Attributes:
        taxonomy: Groups of the classes.
        network: How the network was trained.
        temperature: Divides the log-odds.
        data: The photos.
        teacher: The bundle that it learned from.
        metrics: Its figures.
        label_share: How much of what it learned was the label.
    """

    taxonomy: dict[str, Any]
    network: NetworkConfig
    temperature: Temperature
    data: StudentDataEntry
    teacher: TeacherEntry
    metrics: dict[str, Any]
    label_share: Annotated[float, Field(ge=0, le=1)] | None = None
