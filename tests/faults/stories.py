"""The stories that are told to the crash check: between them they use every operation on a source."""

import random
from collections.abc import Callable

from tests.faults.story import Story


def appends(story: Story) -> None:
    """Groups of one and of several requests, 200s and 202s, with keys and without, over two files."""
    story.create()
    story.open()
    story.commit(story.request(1))
    story.commit(story.request(2, 1), story.request(1, key=True), story.request(0, 1))
    story.commit(story.request(1), durably=False)
    story.commit(story.request(1, key=True), durably=False)
    story.read()
    story.commit(story.request(1), durably=False)
    story.sync()
    story.mark()
    story.retry()
    story.commit(story.request(30))
    story.seal()
    story.commit(story.request(1), story.request(1), durably=False)
    story.commit(story.request(1, 1, key=True))
    story.retry()
    story.read()


def compactions(story: Story) -> None:
    """Segments of every kind, over two days, beside a file that is written."""
    story.create()
    story.open()
    story.commit(story.request(2, 1, key=True))
    story.commit(story.request(3))
    story.compact()
    story.commit(story.request(1, key=True))
    story.read()
    story.later(days=1)
    story.commit(story.request(1, 1), durably=False)
    story.compact()
    story.retry()
    story.open()
    story.commit(story.request(0, 2))
    story.compact()
    story.read()


def restarts(story: Story) -> None:
    """A daemon that is killed and started again and again, with rows in the kernel's hands and leftovers on disk."""
    story.create()
    story.open()
    story.commit(story.request(1, key=True))
    story.commit(story.request(1), durably=False)
    story.open()
    story.read()
    story.commit(story.request(1, 1), durably=False)
    story.open()
    story.retry()
    story.commit(story.request(2))
    story.compact()
    story.open()
    story.commit(story.request(1))
    story.open()
    story.read()
    story.compact()


def changes(story: Story) -> None:
    """A schema that changes while rows of the old one are in the log and in segments; the rows that fit now go in again."""
    story.create()
    story.open()
    story.commit(story.request(1, 1, key=True))
    story.compact()
    story.commit(story.request(1, 2))
    story.alter()
    story.commit(story.request(1, 1))
    story.replay()
    story.read()
    story.commit(story.request(1))
    story.compact()
    story.retry()
    story.read()


def removals(story: Story) -> None:
    """Rows that are taken away, all, the quarantined alone, or for others; a source that goes and comes anew."""
    story.create()
    story.open()
    story.commit(story.request(2, 1))
    story.compact()
    story.commit(story.request(1, 1))
    story.truncate("quarantine")
    story.commit(story.request(1, 1))
    story.replace(story.request(2))
    story.read()
    story.commit(story.request(1, 1), durably=False)
    story.truncate("rows")
    story.commit(story.request(2))
    story.compact()
    story.drop()
    story.create()
    story.open()
    story.commit(story.request(1, 1))
    story.read()


def vain_commits(story: Story) -> None:
    """Rows are taken away right after a commit that may have failed, and whose file nothing has voided yet."""
    story.create()
    story.open()
    story.commit(story.request(0, 1))
    story.truncate("quarantine")
    story.commit(story.request(1, 1))
    story.truncate("rows")
    story.commit(story.request(1))
    story.truncate("rows")


def vain_starts(story: Story) -> None:
    """Rows are taken away by a log that knows nothing of a commit that failed before it was started."""
    story.create()
    story.open()
    story.commit(story.request(0, 1))
    story.open()
    story.open()
    story.truncate("quarantine")
    story.open()
    story.truncate("rows")


def merges(story: Story) -> None:
    """Two days of small segments, with a floor between them; what is read and written before and after days are swapped."""
    story.create()
    story.open()
    story.commit(story.request(1, 1))
    story.compact()
    story.commit(story.request(2), durably=False)
    story.compact()
    story.truncate("quarantine")
    story.commit(story.request(1, 1))
    story.compact()
    story.commit(story.request(0, 1))
    story.compact()
    story.later(hours=12)
    story.merge()
    story.read()
    story.commit(story.request(1, 1, key=True))
    story.compact()
    story.commit(story.request(1))
    story.later(minutes=11)
    story.compact()
    story.later(days=1)
    story.merge()
    story.retry()
    story.commit(story.request(1))
    story.read()


def made_up(seed: int) -> Callable[[Story], None]:
    """A story of steps in any order."""

    def tell(story: Story) -> None:
        dice = random.Random(seed)
        steps: list[Callable[[], None]] = [
            *[lambda: story.commit(story.request(dice.randint(1, 3), dice.randint(0, 2), key=dice.random() < 0.5))] * 6,
            *[lambda: story.commit(story.request(1, key=True), story.request(1, 1), durably=False)] * 3,
            *[story.compact, story.read, story.retry, story.open] * 2,
            *[story.sync, story.mark, story.seal, story.alter, story.replay],
            lambda: story.later(hours=dice.randint(1, 20)),
            lambda: story.truncate("rows"),
            lambda: story.truncate("quarantine"),
            lambda: story.replace(story.request(2)),
            story.merge,
            story.merge,
        ]
        story.create()
        story.open()
        for _ in range(15):
            dice.choice(steps)()

    return tell


STORIES: dict[str, Callable[[Story], None]] = {
    story.__name__: story
    for story in (
        appends,
        compactions,
        merges,
        restarts,
        changes,
        removals,
        vain_commits,
        vain_starts,
    )
}
