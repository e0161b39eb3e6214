"""Pushed streams: every entry arrives in order, rather twice than never, proved to be ours."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, b64encode
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from govern import clock, errors
from govern.audit import streams
from govern.audit.log import HOUSE
from govern.audit.signer import Signer
from govern.signals import streams as pushing
from tests.factory import OPERATOR, person
from tests.signals.test_witnesses import served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from govern.audit.streams import Standing
    from tests.factory import World


class Receiver:
    """What a SIEM would keep; it fails when told to, before or after it kept what came."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.status = "200 OK"

    def __call__(
        self, environ: dict[str, Any], start: Callable[[str, list[Any]], Any]
    ) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        headers = {
            name.removeprefix("HTTP_").lower().replace("_", "-"): value
            for name, value in environ.items() if name.startswith("HTTP_")
        }  # fmt: skip
        self.requests.append((headers, body))
        start(self.status, [("Content-Length", "0")])
        return []

    def entries(self) -> dict[str, list[int]]:
        """The entries' places as they came, by log; each request says from where to where."""
        found: dict[str, list[int]] = {}
        for headers, body in self.requests:
            told = [json.loads(line) for line in body.decode().splitlines()]
            leaves = [each.get("entry") or json.loads(each["raw_data"]) for each in told]
            begin, end = int(headers["govern-begin"]), int(headers["govern-end"])
            assert [leaf["seq"] for leaf in leaves] == list(range(begin, end))
            assert {leaf["log"] for leaf in leaves} == {headers["govern-log"]}
            found.setdefault(headers["govern-log"], []).extend(range(begin, end))
        return found


def standing(world: World) -> Standing:
    with world.store.reading() as session:
        (found,) = streams.standing(session)
    return found


def test_a_stream_gets_every_signed_entry_of_its_client_in_order_and_signed_by_its_secret(
    world: World,
) -> None:
    aster = world.client("ASTER")
    world.project("Kingfisher", client=aster)
    world.project("Cinnabar", client=world.client("BOREAL"))
    signer, receiver = Signer(world.store.settings), Receiver()
    with served(receiver) as url:  # type: ignore[arg-type]  # a simpler WSGI application
        row, secret = world.do(
            lambda s: streams.add(s, f"{url}/logs", client=aster.id, inside=True, by=OPERATOR)
        )
        assert secret is not None
        signer.sign(world.store)
        size = len(world.entries(aster.id))
        assert pushing.push(world.store) == size
        assert receiver.entries() == {aster.id: list(range(size))}
        headers, body = receiver.requests[0]
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = hmac.digest(b64decode(secret.removeprefix("whsec_")), signed, "sha256")
        assert headers["webhook-signature"] == f"v1,{b64encode(digest).decode()}"

        # What the receiver does not confirm comes again, later and later, and nothing is skipped.
        world.project("Osprey", client=aster)
        assert pushing.push(world.store) == 0  # it is not signed yet
        signer.sign(world.store)
        receiver.status = "503 Service Unavailable"
        assert pushing.push(world.store) == 0
        failed = standing(world)
        assert (failed.behind, failed.state.failures) == (1, 1)
        assert failed.state.error == "it answered 503"
        assert pushing.push(world.store) == 0
        assert len(receiver.requests) == 2  # its time has not come
        receiver.status = "204 No Content"
        with clock.at(clock.utcnow() + timedelta(minutes=1)):
            assert pushing.push(world.store) == 1
            assert receiver.entries() == {aster.id: [*range(size), size, size]}
            assert (standing(world).behind, standing(world).state.error) == (0, "")
            world.do(lambda s: streams.end(s, streams.find(s, row.id), by=OPERATOR))
            signer.sign(world.store)
            assert pushing.push(world.store) == 0
    for log_id in (aster.id, HOUSE):
        assert len(world.entries(log_id, "stream.added", "stream.ended")) == 2
    assert secret not in json.dumps(world.entries(HOUSE))


def test_a_stream_of_all_logs_sends_a_header_of_its_own_and_goes_nowhere_inside_unasked(
    world: World,
) -> None:
    receiver = Receiver()
    with served(receiver) as url:  # type: ignore[arg-type]  # a simpler WSGI application
        with pytest.raises(errors.Invalid, match="inside"):
            world.do(lambda s: streams.add(s, url, by=OPERATOR))
        hidden = url.replace("http:", "https:")
        world.do(lambda s: streams.add(s, hidden, by=OPERATOR))
        _, secret = world.do(
            lambda s: streams.add(
                s,
                f"{url}/hec",
                form="ocsf",
                authorization="Splunk 0b5e",
                inside=True,
                by=OPERATOR,
            )
        )
        assert secret is None
        aster = world.client("ASTER")
        Signer(world.store.settings).sign(world.store)
        pushing.push(world.store)
        told = receiver.entries()
    assert set(told) == {aster.id, HOUSE}
    assert all(b'"class_uid":' in body for _, body in receiver.requests)
    assert all(headers["authorization"] == "Splunk 0b5e" for headers, _ in receiver.requests)
    with world.store.reading() as session:
        inside, other = streams.standing(session)
    assert inside.state.error == "ConnectionError: no answer that counts"
    assert (inside.taken, other.behind) == ({}, 0)
    for wrong in ({"form": "xml"}, {"authorization": "a\nb"}, {"url": "ftp://x.example"}):
        with pytest.raises(errors.Invalid):
            world.do(lambda s, wrong=wrong: streams.add(  # type: ignore[misc]  # bound by default
                s, **{"url": "https://siem.example", "by": OPERATOR} | wrong))  # fmt: skip
    admin = person(world.staff("admin"), "admin")
    with pytest.raises(errors.Forbidden):
        world.do(lambda s: streams.add(s, "https://siem.example", by=admin))
