"""What is compiled to machine code: lines of JSON -> cells, and cells -> an Arrow record batch.

Only `segments.line_reader` calls what is here, and imports it late, because that takes a second, and several the first time.
"""
