"""What is compiled to machine code: lines of JSON -> cells, and cells -> an Arrow record batch.

`make` compiles, in a process of its own; everybody else sees `plan`, and what `load` makes of the result.
"""
