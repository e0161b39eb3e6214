"""Real parts for tests and benchmarks: PostgreSQL, Node, a browser."""
