"""The daemon: time, tasks and sockets around `segments`.

Tasks, from the outside in: `server` owns the listener and the life cycle; each connection has a task (`routes` over
`http_connection`), which sleeps while `fast_path` has it; each open data source has one actor (`ingest`), started by `sources`;
`fronts` speaks to the processes of `--workers`; `compactor` runs segment building in a child process; `admission` sheds slow
connections. ARCHITECTURE.md has the whole way of an event, and who writes what.
"""

import segments as segments  # Which hides numpy, before anything imports pyarrow.
