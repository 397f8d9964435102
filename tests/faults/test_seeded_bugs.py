"""The crash check proves itself: each mistake put into the storage code on purpose is caught."""

from collections.abc import Callable, Iterator

import pytest

from segments import segment_file
from segments.datafile import parse_datafile
from segments.filenames import Lsn
from segments.recovery import create_source
from tests.faults.crash_check import born
from tests.faults.crash_runs import FAULTS, Job
from tests.faults.crash_states import crash_states
from tests.faults.judge import Violation
from tests.faults.memory_disk import MemoryDisk
from tests.faults.seeded_bugs import BUGS, days_that_are_there_not_synced
from tests.faults.seeded_merge_bugs import BUGS_OF_MERGES
from tests.faults.stories import STORIES
from tests.faults.story import DATA, NARROW, NOW, SOURCE

SHOWN_SOONEST_BY = {
    "dead_files_removed_in_any_order": Job("2", "once", 30),
    "schema_not_synced_before_a_new_file": Job("changes", "once", 100),
    "drop_that_was_cut_short_goes_on_without_a_sync": Job("removals", "kill", 100),
    "failed_rows_not_void_before_a_truncate": Job("vain_commits", "once", 12),
    "failed_rows_of_an_earlier_life_not_void_before_a_truncate": Job("vain_starts", "once", 12),
    "pages_of_a_dead_file_kept": Job("compactions", "once", 100),
    # A swap that a dead process did not make durable.
    "old_swaps_believed": Job("merges", "kill", 30, every=25),
}
"""What is tried before all other jobs, which take longer to come to the mistake."""


def jobs(seed: Callable[[pytest.MonkeyPatch], None]) -> Iterator[Job]:
    if seed.__name__ in SHOWN_SOONEST_BY:
        yield SHOWN_SOONEST_BY[seed.__name__]
    names = ["merges"] if seed in BUGS_OF_MERGES else [name for name in (*STORIES, "4", "2") if name != "merges"]
    for fault in FAULTS:
        for name in names:
            yield Job(name, fault, 30)


@pytest.mark.parametrize("seed", [*BUGS, *BUGS_OF_MERGES], ids=lambda seed: seed.__name__)
def test_a_seeded_bug_is_caught(monkeypatch, seed):
    seed(monkeypatch)

    def run_all() -> None:
        for job in jobs(seed):
            job.run()

    # ValueError: without a checksum the garbage in a frame is not even Arrow or JSON.
    with pytest.raises((Violation, ValueError)):
        run_all()


def is_there_after_a_power_cut() -> bool:
    """Whether a segment always is, whose day an earlier call has made and could not sync the name of."""
    disk, schema = MemoryDisk(born()), parse_datafile(NARROW).schema
    create_source(disk, DATA, "events", NARROW, source_id=b"0123456789abcdef", now=NOW)
    disk.mkdir(SOURCE.day("rows", NOW.date()))
    span = segment_file.Span(NOW.date(), schema, Lsn(1), Lsn(1), quarantined_rows=0, keys=0)
    ref = segment_file.write_segment(disk, SOURCE, "rows", schema.arrow.empty_table(), span)
    left = [state for state in crash_states(disk.base, disk.log, seed=0) if state.at == len(disk.log)]
    assert left
    return all(MemoryDisk(state.tree).exists(ref.path) for state in left)


def test_a_segment_in_a_day_that_was_there_is_not_lost_and_without_the_sync_of_the_day_it_would_be(monkeypatch):
    """No story can show this: where they go this way, `settle_manifest` has synced the name of the day before."""
    assert is_there_after_a_power_cut()
    days_that_are_there_not_synced(monkeypatch)
    assert not is_there_after_a_power_cut()
