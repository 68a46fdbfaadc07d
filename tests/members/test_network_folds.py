"""Networks that train as tasks, and what they leave in their folders."""

from __future__ import annotations

import pytest

from ensemble_minerals.members.network_folds import read_logs
from ensemble_minerals.networks.training.epoch_log import TrainingLog


@pytest.mark.parametrize(
    "text", ['[{"phase": 1', '[{"phase": 1}]', '{"phase": 1, "epoch": 1}', "[NaN]", "\udc80"]
)
def test_a_damaged_log_is_said_and_has_no_epochs(tmp_path, caplog, text):
    for number in range(11):
        TrainingLog(tmp_path / str(number)).add({"phase": 1, "epoch": number + 1, "train_loss": 0.5})
    (tmp_path / "2" / "epochs.json").write_text(text, encoding="utf-8", errors="surrogateescape")
    logs = read_logs(tmp_path)
    assert [[record["epoch"] for record in log] for log in logs] == [
        [number + 1] if number != 2 else [] for number in range(11)
    ]
    assert "2/epochs.json is damaged, and is not used" in caplog.text
