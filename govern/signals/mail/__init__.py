"""Mail: each person is told of what was done to their access, by a follower of the logs.

An act is told once to each person it concerns, and never to whoever did it. What is owed to whom is
noted in the transaction that moves the follower's cursor; each person's mail then has a state of
its own: waiting, failed (to be tried again), sent, given up. Nothing that decides or pauses ever
waits for mail.
"""

from govern.signals.mail.following import follow
from govern.signals.mail.sending import send
from govern.signals.mail.state import (
    Delivery,
    Lost,
    Told,
    Trouble,
    deliveries,
    lost,
    lost_ones,
    told,
    trouble,
)
from govern.signals.mail.tables import MailAct, MailDelivery, MailServer, State
from govern.signals.mail.working import work

__all__ = [
    "Delivery",
    "Lost",
    "MailAct",
    "MailDelivery",
    "MailServer",
    "State",
    "Told",
    "Trouble",
    "deliveries",
    "follow",
    "lost",
    "lost_ones",
    "send",
    "told",
    "trouble",
    "work",
]
