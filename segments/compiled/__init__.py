"""What is compiled to machine code: lines of JSON -> cells, cells -> an Arrow record batch; and the writes and syncs of logs.

`make` compiles, in a process of its own; everybody else sees `plan` and `places`, and what `load` makes of the result.
"""
