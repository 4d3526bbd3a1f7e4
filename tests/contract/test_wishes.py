from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from controller.cli.wishes import renew_control
from controller.stored import read_control
from job.store.folder import FolderStore


def test_wishes_of_many_people_at_once_all_stay(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "run")
    trials = [f"{number:012x}" for number in range(40)]

    def stop(trial_id: str) -> None:
        renew_control(store, now=datetime.now(UTC), trials={trial_id: "stop"})

    with ThreadPoolExecutor(8) as people:
        list(people.map(stop, trials))
    assert set(read_control(store).trials) == set(trials)
