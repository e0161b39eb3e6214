"""Transparency logs, pure: hashes, proofs, signed notes and tiles, from bytes to bytes.

Nothing here knows a database, a clock, a file or the rest of govern, so that an auditor can read
and run it alone. Formats are public standards (RFC 9162, C2SP), so that others can check our logs
with programs we did not write.
"""
