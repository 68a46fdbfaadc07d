"""`report`: a bundle in, a page on where it fails and why out."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from ensemble_minerals.bundle import Bundle, read_bundle
from ensemble_minerals.data.duplicates import find_duplicates
from ensemble_minerals.data.images import decode
from ensemble_minerals.data.manifest import Manifest, ScanCache, Status, scan
from ensemble_minerals.errors import DataError, ImageError, UserError
from ensemble_minerals.evaluation.answers import Answers
from ensemble_minerals.evaluation.error_analysis import Circumstances, analyze
from ensemble_minerals.evaluation.slices import SIDE, measure
from ensemble_minerals.listener import Listener, Silent
