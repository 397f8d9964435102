"""A storm over a file system that is cut off under it."""

from tests.daemons import Daemon
from tests.faults.file_systems import FileSystem
from tests.faults.kill_storm import Storm
from tests.faults.shim import end_all


def cut_power(storm: Storm, daemon: Daemon, file_system: FileSystem) -> None:
    """Cut the file system off under load, end the daemon, and have the kernel bring back what a power cut leaves.

    An answer counts only if it was there before the cut began: a sync that is under way then may say success for bytes
    that are lost, on both file systems.
    """
    storm.era.end()
    file_system.cut_off()
    storm.pause(0.1)
    end_all(daemon)
    file_system.unmount()
    file_system.mount()
    storm.era.begin()
