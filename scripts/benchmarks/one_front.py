"""siltstoned with one front process, which no option of its own starts: what a front costs shows best when there is one."""

import os
import sys
from pathlib import Path

from daemon.cli import run
from daemon.config import Config

if __name__ == "__main__":
    run(Config(data=Path(sys.argv[1]), port=0, fronts=1, admin_token=os.environ["SILTSTONED_ADMIN_TOKEN"]))
