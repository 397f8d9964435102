"""Reading: SQL over a snapshot, output in six formats, and the `siltstone` command. Also the sender, `append`."""

import segments as segments  # Which hides numpy, before anything imports pyarrow.
