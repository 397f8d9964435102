"""Reading: SQL over a snapshot, output in six formats, and the `siltstone` command. Also the sender, `append`."""

import segments as segments  # Before anything imports pyarrow, see there.
