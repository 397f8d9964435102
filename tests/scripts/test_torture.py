"""The commands of scripts/torture take what docs/durability.md says of them."""

import pytest
from click.testing import CliRunner

from scripts.torture import main


@pytest.mark.parametrize("fs", ["ext4", "xfs"])
@pytest.mark.parametrize("command", [("powercut", "--rounds"), ("blocks", "--cuts")])
def test_a_file_system_is_named_as_mount_names_it(command, fs):
    done = CliRunner().invoke(main, [*command, "0", "--fs", fs])

    assert done.exit_code == 0, done.output
