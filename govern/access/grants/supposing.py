"""Acts on a suspension that have not happened yet, as the rule is to suppose them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import (
    SQLColumnExpression,
    String,
    and_,
    bindparam,
    not_,
    or_,
    select,
    true,
)

from govern.access.grants.table import Grant
from govern.access.modes import Mode
from govern.access.requests import RequestItem
from govern.access.suspension_tables import Scope

if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import ColumnElement, Select

SomeId: TypeAlias = str | SQLColumnExpression[str]  # known, bound when it is run, or a column


@dataclass(frozen=True, kw_only=True)
class Supposing:
    """An act on a suspension that has not happened yet: the rule as it would be after it.

    Without more it is the lift; `mode` supposes a weaker mode; `released` and `narrowed` suppose
    that the people and parts, or targets, that a request names are taken out; `moved` that a person
    leaves their organisation.
    """

    suspension: SomeId | None = None
    mode: Mode | None = None
    released: SomeId | None = None
    narrowed: SomeId | None = None
    moved: SomeId | None = None

    def outline(self) -> tuple[Supposing, dict[str, Any]]:
        """The same about any suspension, with what to bind when a statement made of it is run."""
        given = {name: getattr(self, name) for name in _OUTLINED}
        places: dict[str, Any] = {
            name: _OUTLINED[name] for name, value in given.items() if value is not None
        }
        return replace(self, **places), {place.key: given[name] for name, place in places.items()}

    def still(
        self,
        target: Any,
        stopping: list[Mode],
        dataset: SQLColumnExpression[str] | None = None,
    ) -> ColumnElement[bool]:
        """Whether a target would still be held by its suspension; `dataset` is that asked about."""
        if self.moved is not None:
            return or_(target.kind != Scope.ORGANISATION, Grant.subject_id != self.moved)
        other = target.suspension_id != self.suspension
        if self.mode is not None:
            return or_(other, true() if self.mode in stopping else not_(true()))
        if self.released is not None:
            return or_(other, not_(self.lets_go(dataset)))
        if self.narrowed is not None:
            return or_(other, target.id.not_in(_items(self.narrowed)))
        return other  # type: ignore[no-any-return]  # a column of an alias has no type

    def lets_go(self, dataset: SQLColumnExpression[str] | None = None) -> ColumnElement[bool]:
        """Whether a release names the grant's person, its project or its dataset."""
        assert self.released is not None  # noqa: S101 - asked of releases alone
        among = _items(self.released)
        one = Grant.dataset_id if dataset is None else dataset
        return or_(
            Grant.subject_id.in_(among),
            Grant.project_id.in_(among),
            and_(one.is_not(None), one.in_(among)),
        )


_OUTLINED = {
    name: bindparam(f"supposed_{name}", type_=String())
    for name in ("suspension", "released", "narrowed", "moved")
}


def _items(request_id: SomeId) -> Select[str]:
    return select(RequestItem.item_id).where(RequestItem.request_id == request_id)
