"""AuthZEN 1.0: other systems ask whether someone may do something, or who may, where, and what.

It translates and delegates: decisions are `evaluation`'s, lists are `searching`'s, and both are on
record before they leave. A denial is 200 with `"decision": false`; a status of its own says that
the request was wrong, never what was decided. What an integration may not know exists is denied
without a word of context, and is in no list.
"""

from govern.web.authzen.evaluation import STATE
from govern.web.authzen.front import before
from govern.web.authzen.routes import blueprint

__all__ = ["STATE", "before", "blueprint"]
