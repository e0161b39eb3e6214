"""Suspensions: one row stops a client's project, and closing it starts it again.

`open` lays one over a scope, `preview` says what that touches; the acts change, release and lift
it; `particulars` writes an entry for each grant afterwards.
"""

from govern.access.suspension_tables import (
    Particulars,
    Reason,
    ScheduledResume,
    Scope,
    Suspension,
    SuspensionMode,
    SuspensionRelease,
    SuspensionTarget,
)
from govern.access.suspensions import (
    difference,
    drilling,
    notices,
    particulars,
    people,
    reading,
    receipt_file,
    receipts,
    tallying,
    touching,
)
from govern.access.suspensions.acts import supposing_of
from govern.access.suspensions.admission import (
    Way,
    returning,
    returning_people,
    way,
)
from govern.access.suspensions.asking import (
    amend,
    ask_lift,
    ask_narrow,
    ask_release,
    change_mode,
    move,
    take_back,
    version,
)
from govern.access.suspensions.difference import returning_digest
from govern.access.suspensions.effect import Effect, TimeToEffect, effect, time_to_effect
from govern.access.suspensions.finding import (
    OwnHold,
    find,
    mode_of,
    organisation_held,
    own_hold,
    own_hold_of,
    own_holds,
    subject_held,
)
from govern.access.suspensions.hearing import Answer, Asker, Heard, Hearing, hearing
from govern.access.suspensions.opening import (
    open,  # noqa: A004 - the verb of the domain
    opened_from,
)
from govern.access.suspensions.parts import Part, targets_of, whole_projects
from govern.access.suspensions.previewing import Preview, chain, digest_of, preview
from govern.access.suspensions.receipts import Receipt, receipt
from govern.access.suspensions.scheduling import (
    CONFIRM_WITHIN,
    cancel,
    confirm,
    confirm_from,
    latest,
    resume_due,
)
from govern.access.suspensions.targets import Target, affected, target
from govern.access.suspensions.telling import ADMITTING, audience, named, places

__all__ = [
    "ADMITTING",
    "CONFIRM_WITHIN",
    "Answer",
    "Asker",
    "Effect",
    "Heard",
    "Hearing",
    "OwnHold",
    "Part",
    "Particulars",
    "Preview",
    "Reason",
    "Receipt",
    "ScheduledResume",
    "Scope",
    "Suspension",
    "SuspensionMode",
    "SuspensionRelease",
    "SuspensionTarget",
    "Target",
    "TimeToEffect",
    "Way",
    "affected",
    "amend",
    "ask_lift",
    "ask_narrow",
    "ask_release",
    "audience",
    "cancel",
    "chain",
    "change_mode",
    "confirm",
    "confirm_from",
    "difference",
    "digest_of",
    "drilling",
    "effect",
    "find",
    "hearing",
    "latest",
    "mode_of",
    "move",
    "named",
    "notices",
    "open",
    "opened_from",
    "organisation_held",
    "own_hold",
    "own_hold_of",
    "own_holds",
    "particulars",
    "people",
    "places",
    "preview",
    "reading",
    "receipt",
    "receipt_file",
    "receipts",
    "resume_due",
    "returning",
    "returning_digest",
    "returning_people",
    "subject_held",
    "supposing_of",
    "take_back",
    "tallying",
    "target",
    "targets_of",
    "time_to_effect",
    "touching",
    "version",
    "way",
    "whole_projects",
]
