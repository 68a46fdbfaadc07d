"""Properties of three classes, of one of which nothing is known."""

from __future__ import annotations

from ensemble_minerals.config.properties import Properties
from ensemble_minerals.prediction.hand_tests import HandTests

CLASSES = ("mica", "quartz", "glass")
PROPERTIES = Properties.model_validate(
    {
        "numbers": {
            "hardness": {"unit": "Mohs", "scale": [1, 10], "error": 0.5, "misread": 0.02, "how": "scratch it with",
                         "tools": {"a coin": 3.5}},
            "density": {"unit": "g/cm3", "scale": [1, 20], "relative_error": 0.05, "misread": 0.01, "how": "weigh it",
                        "units": {"kg/m3": 0.001}},
        },
        "words": {
            "streak": {"values": ["white", "grey", "black"], "misread": 0.05, "how": "rub it"},
            "magnetism": {"values": ["none", "strong"], "misread": 0.02, "how": "hold a magnet beside it"},
            "smell": {"values": ["none", "sulfur"], "misread": 0.1, "how": "smell it"},
        },
        "classes": {
            "mica": {
                "hardness": {"range": [2, 3], "source": "a book"},
                "density": {"range": [2.8, 3.2], "source": "a book"},
                "streak": {"values": ["white", "grey"], "source": "a book"},
                "magnetism": {"values": ["none"], "source": "a book"},
            },
            "quartz": {
                "hardness": {"range": [7, 7], "source": "a book"},
                "streak": {"values": ["white"], "source": "a book"},
                "magnetism": {"values": ["none"], "source": "a book"},
            },
        },
    }
)  # fmt: skip
TESTS = HandTests(PROPERTIES, CLASSES)
