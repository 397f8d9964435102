"""Mistakes to be put into the merging of days, as in `seeded_bugs`; they show in the story of merges alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from segments import merge
from segments.disk import remove_tree
from tests.faults.memory_disk import MemoryDisk

Patch = pytest.MonkeyPatch


def while_a_day_is_built(method: str) -> Callable[[Patch], None]:
    """A sync is left out."""

    def seed(patch: Patch) -> None:
        whole = merge._build

        def build(disk, source, built, group, name, data):
            with pytest.MonkeyPatch.context() as inner:
                inner.setattr(MemoryDisk, method, lambda *_: None)
                whole(disk, source, built, group, name, data)

        patch.setattr(merge, "_build", build)

    seed.__name__ = f"no_{method}_while_a_day_is_built"
    return seed


def replaced_files_deleted_before_the_swap_is_durable(patch: Patch) -> None:
    whole = MemoryDisk.exchange

    def exchange(disk: MemoryDisk, one: Any, other: Any) -> None:
        whole(disk, one, other)
        remove_tree(disk, one)

    patch.setattr(MemoryDisk, "exchange", exchange)


def days_swapped_in_two_steps(patch: Patch) -> None:
    whole = MemoryDisk.exchange

    def exchange(disk: MemoryDisk, one: Any, other: Any) -> None:
        whole(disk, one, other)
        swapped: Any = disk.log.pop()
        disk.log += [swapped.other, swapped.one]

    patch.setattr(MemoryDisk, "exchange", exchange)


def old_swaps_believed(patch: Patch) -> None:
    def settle(disk, source, *, now):
        for name in list(merge._outdated(disk, source, now)):
            remove_tree(disk, source.merging / name)

    for module in ("recovery", "compaction", "merge"):
        patch.setattr(f"segments.{module}.settle_merging", settle)


def last_segment_of_a_group_forgotten(patch: Patch) -> None:
    whole = merge._encode

    def encode(disk, manifest, group):
        return whole(disk, manifest, replace(group, refs=group.refs[:-1]))

    patch.setattr(merge, "_encode", encode)


def files_that_stay_forgotten(patch: Patch) -> None:
    patch.setattr(MemoryDisk, "link", lambda *_: None)


BUGS_OF_MERGES = [
    *map(while_a_day_is_built, ("sync", "sync_dir")),
    replaced_files_deleted_before_the_swap_is_durable,
    days_swapped_in_two_steps,
    old_swaps_believed,
    last_segment_of_a_group_forgotten,
    files_that_stay_forgotten,
]
