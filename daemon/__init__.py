"""The daemon: time, tasks and sockets around `segments`.

Tasks, from the outside in: `server` owns the listener and the life cycle; each connection has a task (`routes` over
`http_connection`); each open data source has one actor (`ingest`), started by `sources`; `compactor` runs segment building
in a child process; `admission` sheds slow connections.

Who writes what: an actor writes its source's active WAL file; the compactor's child writes segments and applied.json and
deletes covered WAL files; recovery runs before both. All of it under the lock of the data directory.

Shutting down: stop accepting, let requests finish, close the actors' inboxes (never cancel them), sync, exit 0.
"""

import segments as segments  # Which hides numpy, before anything imports pyarrow.
