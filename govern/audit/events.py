"""The vocabulary: every type of event that a log may hold, and one sentence for each.

Names are dotted past tense and never change meaning: they are in leaves that are for ever.
"""

from __future__ import annotations

from enum import StrEnum


class EventType(StrEnum):
    """What happened."""

    CLIENT_CREATED = "client.created"
    PROJECT_CREATED = "project.created"
    DATASET_CREATED = "dataset.created"
    ENTITLEMENT_DEFINED = "entitlement.defined"

    INTEGRATION_CREATED = "integration.created"
    INTEGRATION_CHANGED = "integration.changed"
    INTEGRATION_RULES_SET = "integration.rules_set"
    INTEGRATION_ROTATED = "integration.rotated"
    INTEGRATION_SUSPENDED = "integration.suspended"
    INTEGRATION_RESUMED = "integration.resumed"
    INTEGRATION_REVOKED = "integration.revoked"
    KEY_ROTATED = "key.rotated"
    SEALING_KEY_ROTATED = "sealing_key.rotated"
    SEALING_KEY_RETIRED = "sealing_key.retired"

    SUBJECT_REGISTERED = "subject.registered"
    SUBJECT_CHANGED = "subject.changed"
    SUBJECT_MOVED = "subject.moved"
    SUBJECT_OFFBOARDED = "subject.offboarded"
    SUBJECT_ERASED = "subject.erased"
    PREFERENCE_SET = "preference.set"
    ROLE_ASSIGNED = "role.assigned"
    ROLE_WITHDRAWN = "role.withdrawn"
    DEMAND_SET = "demand.set"
    DEMAND_ENDED = "demand.ended"

    ACTIVATION_ISSUED = "activation.issued"
    PASSWORD_SET = "password.set"  # noqa: S105 - the name of an event
    TOTP_ENROLLED = "totp.enrolled"
    PASSKEY_ENROLLED = "passkey.enrolled"
    AUTHENTICATOR_RENAMED = "authenticator.renamed"
    AUTHENTICATOR_REMOVED = "authenticator.removed"
    RECOVERY_CODES_ISSUED = "recovery_codes.issued"
    RECOVERY_CODES_REMOVED = "recovery_codes.removed"
    RECOVERY_CODE_USED = "recovery_code.used"
    RESET_ASKED = "password_reset.asked"
    RESET_COMPLETED = "password_reset.completed"
    RECOVERY_APPROVED = "recovery.approved"
    RECOVERY_CANCELLED = "recovery.cancelled"
    RECOVERY_COMPLETED = "recovery.completed"
    SIGN_IN_FAILED = "sign_in.failed"
    AUTHENTICATOR_DISABLED = "authenticator.disabled"
    FACTOR_GUESSED_AT = "second_factor.guessed_at"
    NEW_BROWSER = "sign_in.new_browser"
    SESSION_OPENED = "session.opened"
    SESSION_ENDED = "session.ended"
    PROVIDER_CREATED = "provider.created"
    PROVIDER_ENDED = "provider.ended"
    IDENTITY_OFFERED = "identity.offered"
    IDENTITY_LINKED = "identity.linked"
    IDENTITY_UNLINKED = "identity.unlinked"

    CLIENT_ENDED = "client.ended"
    PROJECT_ENDED = "project.ended"
    ENDING_RECORDED = "ending.recorded"

    BULK_ORDERED = "bulk.ordered"
    BULK_RECORDED = "bulk.recorded"

    GRANT_ISSUED = "grant.issued"
    GRANT_REVOKED = "grant.revoked"
    GRANT_SUSPENDED = "grant.suspended"
    GRANT_REVIEW_REQUIRED = "grant.review_required"
    GRANT_RESUMED = "grant.resumed"

    SUSPENSION_OPENED = "suspension.opened"
    SUSPENSION_MODE_CHANGED = "suspension.mode_changed"
    SUSPENSION_AMENDED = "suspension.amended"
    NOTICE_POSTED = "suspension.notice_posted"
    NOTICE_ACKNOWLEDGED = "notice.acknowledged"
    SUSPENSION_NARROWED = "suspension.narrowed"
    SUSPENSION_RELEASED = "suspension.released"
    SUSPENSION_LIFTED = "suspension.lifted"
    SUSPENSION_RECORDED = "suspension.recorded"
    DRILL_HELD = "drill.held"
    RESUME_SCHEDULED = "resume.scheduled"
    RESUME_CONFIRMED = "resume.confirmed"
    RESUME_CANCELLED = "resume.cancelled"
    RESUME_MISSED = "resume.missed"

    REQUEST_OPENED = "request.opened"
    REQUEST_ENDORSED = "request.endorsed"
    REQUEST_APPROVED = "request.approved"
    REQUEST_WITHDRAWN = "request.withdrawn"
    REQUEST_DIED = "request.died"
    REQUEST_POLICY_SET = "request_policy.set"
    REQUEST_POLICY_ENDED = "request_policy.ended"

    QUESTION_ASKED = "question.asked"
    QUESTION_ANSWERED = "question.answered"

    ROSTER_IMPORTED = "roster.imported"
    HOUSE_TOLD = "house.told"

    WITNESS_ADDED = "witness.added"
    WITNESS_ENDED = "witness.ended"
    HOLD_SET = "hold.set"
    HOLD_RELEASED = "hold.released"
    RETENTION_SET = "retention.set"
    STREAM_ADDED = "stream.added"
    STREAM_ENDED = "stream.ended"

    EXPORT_ASKED = "export.asked"
    EXPORT_READY = "export.ready"
    EXPORT_FAILED = "export.failed"

    ACCESS_SEALED = "access.sealed"
    ACCESS_EXPIRED = "access.expired"


SENTENCES: dict[EventType, str] = {
    EventType.CLIENT_CREATED: "A client was taken in, and its log begun.",
    EventType.PROJECT_CREATED: "A project was set up.",
    EventType.DATASET_CREATED: "A dataset was added to a project.",
    EventType.ENTITLEMENT_DEFINED: "The actions of an entitlement were set.",
    EventType.INTEGRATION_CREATED: "A system was given credentials, with its scopes and limits.",
    EventType.INTEGRATION_CHANGED: "What a system is registered with changed.",
    EventType.INTEGRATION_RULES_SET: "What requests to a proxy mean was set.",
    EventType.INTEGRATION_ROTATED: "A system was given a new secret; the old one has an end.",
    EventType.INTEGRATION_SUSPENDED: "A system's credentials were stopped for a while.",
    EventType.INTEGRATION_RESUMED: "A system's credentials count again.",
    EventType.INTEGRATION_REVOKED: "A system's credentials were ended for good.",
    EventType.KEY_ROTATED: "A new key signs tokens from now on.",
    EventType.SEALING_KEY_ROTATED: "A new key seals secrets of the database from now on.",
    EventType.SEALING_KEY_RETIRED: "Nothing is sealed any more by a key that another replaced.",
    EventType.SUBJECT_REGISTERED: "A person or service became known.",
    EventType.SUBJECT_CHANGED: "Particulars of a person changed.",
    EventType.SUBJECT_MOVED: "A person went from one organisation to another.",
    EventType.SUBJECT_OFFBOARDED: "A person left for good; their grants and sessions ended.",
    EventType.SUBJECT_ERASED: "What was personal of a person was erased; every proof stays whole.",
    EventType.PREFERENCE_SET: "A person chose the time zone that their pages are in.",
    EventType.ROLE_ASSIGNED: "A role was given, over all clients or one, until an instant.",
    EventType.ROLE_WITHDRAWN: "A role was taken back.",
    EventType.DEMAND_SET: "A role, a client or a project began to demand a factor, now or later.",
    EventType.DEMAND_ENDED: "A factor is demanded no longer.",
    EventType.ACTIVATION_ISSUED: "A one-time activation link was made.",
    EventType.PASSWORD_SET: "A password was chosen.",
    EventType.TOTP_ENROLLED: "An authenticator app was enrolled.",
    EventType.PASSKEY_ENROLLED: "A passkey was enrolled.",
    EventType.AUTHENTICATOR_RENAMED: "A person called an app or a passkey of theirs otherwise.",
    EventType.AUTHENTICATOR_REMOVED: "An authenticator app or a passkey was removed.",
    EventType.RECOVERY_CODES_ISSUED: "Recovery codes were made; older ones stopped working.",
    EventType.RECOVERY_CODES_REMOVED: "Recovery codes were ended by their owner.",
    EventType.RECOVERY_CODE_USED: "A recovery code was spent.",
    EventType.RESET_ASKED: "Someone asked for a new password for an address, known here or not.",
    EventType.RESET_COMPLETED: "A forgotten password was replaced, with a second factor shown.",
    EventType.RECOVERY_APPROVED: "Two people opened a way back for who lost a second factor.",
    EventType.RECOVERY_CANCELLED: "A recovery of an account was called off.",
    EventType.RECOVERY_COMPLETED: "A recovery was used: all authenticators before it ended.",
    EventType.SIGN_IN_FAILED: "A sign-in or a second factor was refused.",
    EventType.AUTHENTICATOR_DISABLED: "A factor was guessed at too often and no longer counts.",
    EventType.FACTOR_GUESSED_AT: "Wrong second factors were shown several times in a row.",
    EventType.NEW_BROWSER: "A person signed in with a browser that was not known for it.",
    EventType.SESSION_OPENED: "A person signed in or showed a fresh factor.",
    EventType.SESSION_ENDED: "A session was ended before its time.",
    EventType.PROVIDER_CREATED: "People may sign in by an identity provider from now on.",
    EventType.PROVIDER_ENDED: "Nobody signs in by an identity provider any more.",
    EventType.IDENTITY_OFFERED: "A link to prove an address was mailed to that address.",
    EventType.IDENTITY_LINKED: "A person's account at an identity provider opens theirs here.",
    EventType.IDENTITY_UNLINKED: "A person's account at a provider opens theirs here no more.",
    EventType.CLIENT_ENDED: "A client ended for good, with all its projects and grants.",
    EventType.PROJECT_ENDED: "A project ended for good, with all its grants.",
    EventType.ENDING_RECORDED: "Every grant that ended with a project or client is recorded.",
    EventType.BULK_ORDERED: "An act over a whole list was ordered; each of its rows has an entry.",
    EventType.BULK_RECORDED: "An act over a list was done to each, but for who had changed.",
    EventType.GRANT_ISSUED: "Access was granted, from an instant until another.",
    EventType.GRANT_REVOKED: "A grant was ended for good.",
    EventType.GRANT_SUSPENDED: "A suspension holds this grant; the grant itself is unchanged.",
    EventType.GRANT_REVIEW_REQUIRED: "Work under this grant goes on under review.",
    EventType.GRANT_RESUMED: "The grant is in force again as it was.",
    EventType.SUSPENSION_OPENED: "Access was stopped over a scope, for every decision from here.",
    EventType.SUSPENSION_MODE_CHANGED: "A suspension stops more, or less, than before.",
    EventType.SUSPENSION_AMENDED: "The review date of a suspension was changed.",
    EventType.NOTICE_POSTED: "The people whom a suspension affects were told something new.",
    EventType.NOTICE_ACKNOWLEDGED: "A person said that they have read a notice.",
    EventType.SUSPENSION_NARROWED: "A part of its scope was taken out of a suspension.",
    EventType.SUSPENSION_RELEASED: "Some people or parts of the scope were let out early.",
    EventType.SUSPENSION_LIFTED: "A suspension ended.",
    EventType.RESUME_SCHEDULED: "A suspension is to end at a time, if someone confirms it by then.",
    EventType.RESUME_CONFIRMED: "That a suspension ends at its time was confirmed as still right.",
    EventType.RESUME_CANCELLED: "A suspension no longer ends at the time that was set.",
    EventType.RESUME_MISSED: "A suspension did not end at its time, and waits for a review.",
    EventType.SUSPENSION_RECORDED: "All particulars of an act of suspension are written.",
    EventType.DRILL_HELD: "A pause was rehearsed on the real data, and nothing of it was kept.",
    EventType.REQUEST_OPENED: "Someone asked for what takes a second person.",
    EventType.REQUEST_ENDORSED: "One of those whose approval access takes gave it.",
    EventType.REQUEST_APPROVED: "The second person approved, or the last of all that it takes.",
    EventType.REQUEST_WITHDRAWN: "What was asked for was withdrawn or refused.",
    EventType.REQUEST_DIED: "Access that was asked for can no longer be given: none will be.",
    EventType.REQUEST_POLICY_SET: "Who approves access, how many, and for how long one may wait.",
    EventType.REQUEST_POLICY_ENDED: "Who approves access there is what the policy over it says.",
    EventType.QUESTION_ASKED: "A person asked about a project, or about their own access.",
    EventType.QUESTION_ANSWERED: "A question was answered.",
    EventType.ROSTER_IMPORTED: "A file of people and grants was read in.",
    EventType.HOUSE_TOLD: "What the house did for all clients alike, told in each one's log.",
    EventType.WITNESS_ADDED: "Checkpoints go to a witness from here, for it to cosign.",
    EventType.WITNESS_ENDED: "Checkpoints no longer go to a witness.",
    EventType.HOLD_SET: "A client came under legal hold: nothing expires meanwhile.",
    EventType.HOLD_RELEASED: "A client is under legal hold no longer.",
    EventType.RETENTION_SET: "For how long a client's rows of the access log stay was set.",
    EventType.STREAM_ADDED: "The log is sent to an address from here, entry by entry.",
    EventType.STREAM_ENDED: "The log is no longer sent to an address.",
    EventType.EXPORT_ASKED: "Someone asked for logs as a file, made in the background.",
    EventType.EXPORT_READY: "A file of logs that someone asked for is ready to be fetched.",
    EventType.EXPORT_FAILED: "A file of logs that someone asked for could not be made.",
    EventType.ACCESS_SEALED: "Rows of the access log were sealed by their Merkle roots.",
    EventType.ACCESS_EXPIRED: "Rows of the access log reached the end of their time.",
}
