"""A fault at the n-th file operation of a real daemon, for every n: a fresh data source each, many of them at a time.

The client tells its story to the daemon while one call on that source's files meets the fault. After each answer that
promises something, what a power cut would leave at that moment is checked too, beside the running daemon.
"""

import errno
import itertools
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote

from tests.daemons import Daemon
from tests.faults.row_ledger import Found, RowLedger, Violation, event, read_files
from tests.faults.shim import Fault, Kind, Rule, Shim
from tests.http_client import Answer

AT_ONCE = 24
PARTS = 4
PATIENCE_S = 120.0
REFUSED = {500, 503}
ALTERED = "id Nullable(String), v Nullable(Int64), extra Nullable(Int64)"


@dataclass(frozen=True)
class Sweep:
    """One kind of fault, to be met at every n."""

    kinds: Kind
    fault: Fault
    error: int = 0
    onwards: bool = False
    scope: str = ""
    """On these paths instead of those of the trial's own source; then nothing else may go on."""

    def __str__(self) -> str:
        what = errno.errorcode.get(self.error, self.fault.name.lower())
        return f"{'|'.join(kind.name or '' for kind in self.kinds)} {what}{' from then on' if self.onwards else ''}"


@dataclass
class Outcome:
    """What a sweep came to: `trials` that met the fault, and their answers."""

    trials: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    ledgers: dict[tuple[str, ...], RowLedger] = field(default_factory=dict)
    """By the names that the source may have."""

    def __iadd__(self, other: "Outcome") -> Self:
        self.trials += other.trials
        self.statuses += other.statuses
        self.ledgers |= other.ledgers
        return self

    def __str__(self) -> str:
        answers = ", ".join(f"{count} x {status}" for status, count in sorted(self.statuses.items()))
        return f"{self.trials} faults met; answers: {answers}"


ERRORS = {
    Kind.WRITE: (errno.EIO, errno.ENOSPC, errno.EDQUOT),
    Kind.SYNC: (errno.EIO, errno.ENOSPC),
    Kind.SYNC_DIR: (errno.EIO,),
    Kind.RENAME: (errno.EIO, errno.ENOSPC),
    Kind.OPEN: (errno.EIO, errno.EMFILE),
    Kind.CREATE: (errno.EMFILE, errno.ENOSPC, errno.EDQUOT, errno.EIO),
    Kind.UNLINK: (errno.EIO,),
    Kind.MKDIR: (errno.EIO, errno.ENOSPC),
}
ONCE, ONWARDS = False, True
SHORT = [Sweep(Kind.WRITE, Fault.SHORT, onwards=onwards) for onwards in (ONCE, ONWARDS)]
DISK_FULL = Sweep(Kind.WRITE | Kind.CREATE | Kind.MKDIR | Kind.RENAME, Fault.FAIL, errno.ENOSPC, onwards=ONWARDS)
EVERY_SWEEP = [
    DISK_FULL,
    *SHORT,
    *(Sweep(k, Fault.FAIL, error, on) for k, errors in ERRORS.items() for error in errors for on in (ONCE, ONWARDS)),
]
SWEEPS = [
    DISK_FULL,
    *SHORT,
    *(Sweep(kind, Fault.FAIL, errors[0], ONCE) for kind, errors in ERRORS.items()),
    *(Sweep(kind, Fault.FAIL, errors[-1], ONWARDS) for kind, errors in ERRORS.items()),
]
"""Every kind of call once and from then on; no code looks at which error it was, save that a file is missing."""
SHARED_SWEEPS = [
    Sweep(kind, Fault.FAIL, errno.EIO, onwards, scope="/sources$")
    for kind in (Kind.OPEN, Kind.SYNC_DIR)
    for onwards in (ONCE, ONWARDS)
]
"""For the directory of all sources, where nothing else may go on at the time."""


class Trial:
    """One source, one fault at one n, and the client that lives through it. Raises Violation."""

    def __init__(self, daemon: Daemon, shim: Shim, scratch: Path, name: str, rule: Rule) -> None:
        self.names: tuple[str, ...] = (name,)
        self._key = name
        self.ledger = RowLedger()
        self.statuses: Counter[int] = Counter()
        self._daemon = daemon
        self._shim = shim
        self._scratch = scratch / name
        self._rule = rule
        self._numbers = itertools.count()
        self._unanswered: dict[str, list[str]] = {}

    @property
    def name(self) -> str:
        """As the daemon has it."""
        return self.names[0]

    def tell(self) -> None:
        """The story up to the fault and on with it: all that a source goes through."""
        if self.post("a", key=True).status != 200:
            # Another row must not decide of which types the columns are.
            return
        self.post("b", "c!")
        self.post("d", wait=False)
        self.post("e", "f", "g!", key=True)
        self.read()
        self.alter()
        self.post("h", "i", key=True)
        self._wait_for_compaction()
        self.post("j", wait=False)
        self.rename()
        self.post("n", "o!", key=True)
        self.read()
        self.truncate()
        self.post("k", "l!", key=True)
        self.read()
        self._wait_for_mark()

    def end(self) -> None:
        """The fault is gone: everything must come right, without a restart."""
        deadline = time.monotonic() + PATIENCE_S
        for key, ids in self._unanswered.items():
            while self._post(ids, wait=True, key=key).status != 200:
                self._pause(deadline, f"{key} is still refused")
        while self.post("m").status != 200:
            self._pause(deadline, "the source takes no rows again")
        self.read()
        self.check_power_cut()

    def post(self, *letters: str, wait: bool = True, key: bool = False) -> Answer:
        """Send rows; with a key they are sent again at the end if the answer was no success."""
        number = next(self._numbers)
        ids = [f"{self._key}-{number}-{letter}" for letter in letters]
        return self._post(ids, wait=wait, key=f"{self._key}-{number}" if key else None)

    def _post(self, ids: list[str], *, wait: bool, key: str | None) -> Answer:
        self.ledger.sent(ids)
        headers = {"Idempotency_Key": key} if key else {}
        query = f"name={self.name}&wait={'true' if wait else 'false'}"
        answer = self._daemon.post(b"\n".join(map(event, ids)), query, **headers)
        self._note(answer, 200 if wait else 202)
        if answer.status == 200:
            told = answer.json()
            if told["successful_rows"] + told["quarantined_rows"] != len(ids):
                raise Violation(f"{len(ids)} rows were sent, and the answer is {told}")
            self.ledger.stored(ids)
            self._check_promise()
        elif answer.status in REFUSED and key:
            self._unanswered.setdefault(key, ids)
        return answer

    def alter(self) -> None:
        answer = self._call("POST", f"alter?schema={quote(ALTERED)}")
        self._note(answer, 200)
        if answer.status == 200:
            self._check_promise()

    def truncate(self) -> None:
        before = self.ledger.here | self.ledger.maybe
        self.ledger.truncating()
        answer = self._call("POST", "truncate")
        self._note(answer, 200)
        if answer.status == 200:
            self.ledger.truncated()
            # What was refused until now and is sent again later counts as sent later.
            again = {one for ids in self._unanswered.values() for one in ids}
            self.ledger.gone -= again
            self.ledger.maybe |= before & again
            self._check_promise()

    def rename(self) -> None:
        """Which closes the source and opens it anew. When it fails, either name may be the source's, and only one."""
        new = f"{self.name}r"
        answer = self._daemon.call("PUT", f"/v0/datasources/{self.name}?name={new}", b"")
        self._note(answer, 200)
        if answer.status == 200:
            self.names = (new,)
            self._check_promise()
        elif self._daemon.call("GET", f"/v0/datasources/{new}").status == 404:
            self.names = (self.name, new)
        else:
            self.names = (new, self.name)

    def read(self) -> None:
        """Reads go on, and see every acknowledged row."""
        if not self.ledger.here:
            return
        deadline = time.monotonic() + PATIENCE_S
        sql = f"SELECT id, v FROM {self.name} FORMAT JSON"
        while (answer := self._daemon.call("GET", f"/v0/sql?q={quote(sql)}")).status == 503:
            if b"as many queries" not in answer.body:
                break
            self._pause(deadline, "no query gets its turn")
        if answer.status != 200:
            raise Violation(f"a read was refused: {answer}")
        good = Found.of(answer.json()["data"], ()).good
        quarantined = Counter(one for one in self.ledger.here if one.endswith("!"))
        self.ledger.check(Found(good, quarantined))

    def check_power_cut(self) -> None:
        """What a power cut at this moment would leave agrees with the ledger."""
        try:
            for name in self.names:
                self._shim.show_power_cut(self._scratch, "sources", name)
                if self._scratch.exists():
                    break
            self.ledger.check(read_files(self._scratch))
        except Violation as error:
            raise Violation(f"after a power cut, {error}") from error
        finally:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _check_promise(self) -> None:
        if self._rule.hits:
            self.check_power_cut()

    def _note(self, answer: Answer, success: int) -> None:
        self.statuses[answer.status] += 1
        if answer.status not in REFUSED | {success}:
            raise Violation(f"{answer}")

    def _call(self, method: str, action: str) -> Answer:
        return self._daemon.call(method, f"/v0/datasources/{self.name}/{action}", b"")

    def _wait_for_compaction(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self._rule.hits:
            answer = self._daemon.call("GET", f"/v0/datasources/{self.name}/watermark")
            if answer.status == 200 and answer.json()["in_segments"] == answer.json()["durable"]:
                return
            self._pause(deadline, "no compaction comes")

    def _wait_for_mark(self) -> None:
        until = time.monotonic() + 1.3
        while not self._rule.hits and self._rule.kinds & Kind.WRITE and time.monotonic() < until:
            time.sleep(0.1)

    @staticmethod
    def _pause(deadline: float, complaint: str) -> None:
        if time.monotonic() > deadline:
            raise Violation(complaint)
        time.sleep(0.1)


class FaultSweep:
    """Sweeps on one daemon, whose data are under a volatile shim."""

    def __init__(self, daemon: Daemon, shim: Shim, scratch: Path) -> None:
        self._daemon = daemon
        self._shim = shim
        self._scratch = scratch
        self._scratch.mkdir()
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def run_all(self, sweeps: list[Sweep]) -> Iterator[tuple[Sweep, Outcome]]:
        """Part by part, as they end. Raises Violation, saying which fault and n it was."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            parts = [(sweep, first) for sweep in sweeps for first in range(1, PARTS + 1)]
            running = {pool.submit(self.run, sweep, first, PARTS): sweep for sweep, first in parts}
            try:
                for done in as_completed(running):
                    yield running[done], done.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def run(self, sweep: Sweep, first: int = 1, step: int = 1) -> Outcome:
        """Every n, or every so many, until one is not reached any more."""
        total = Outcome()
        for n in itertools.count(first, step):
            one = self.run_one(sweep, n)
            total += one
            if not one.trials:
                return total
        raise AssertionError

    def run_one(self, sweep: Sweep, n: int) -> Outcome:
        with self._lock:
            name = f"t{next(self._numbers)}x"
        rule = self._shim.arm(
            sweep.kinds, sweep.fault, n, onwards=sweep.onwards, error=sweep.error, scope=sweep.scope or name
        )
        trial = Trial(self._daemon, self._shim, self._scratch, name, rule)
        try:
            try:
                trial.tell()
            finally:
                hits = rule.hits
                rule.disarm()
            trial.end()
        except Violation as error:
            raise Violation(f"{sweep} at n={n}, source {name}: {error}") from error
        return Outcome(bool(hits), trial.statuses, {trial.names: trial.ledger})

    def end(self, total: Outcome) -> None:
        """The power goes, once and for real; then everything agrees, in the log and again in segments."""
        self._shim.cut_power(self._daemon)
        self._daemon.start()
        self._check_files(total)
        deadline = time.monotonic() + 120
        while left := list(self._shim.data.glob("sources/*/wal/*.wal")):
            if time.monotonic() > deadline:
                raise Violation(f"what is in the log finds no way into segments: {left}")
            time.sleep(0.2)
        self._check_files(total)

    def _check_files(self, total: Outcome) -> None:
        for names, ledger in total.ledgers.items():
            directories = [self._shim.data / "sources" / name for name in names]
            ledger.check(read_files(next((one for one in directories if one.exists()), directories[0])))
