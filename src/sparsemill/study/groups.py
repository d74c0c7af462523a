"""Groups of collections: what a mean over them is taken of."""

import math

from sparsemill.errors import UserError
from sparsemill.study.hints import nearest
from sparsemill.study.models import Study

Shares = dict[str, float]
"""Collection -> its share of the mean; they sum to 1."""


def shares(study: Study, name: str) -> Shares:
    """What a group's mean is taken of; a collection is the mean of itself.

    Every member counts once, and a group among the members counts as one, as CQADupStack's twelve parts do in BEIR.

    Raises:
        UserError: a member does not exist, or a group is a member of itself.
    """
    return _shares(study, name, ())


def _shares(study: Study, name: str, path: tuple[str, ...]) -> Shares:
    if name not in study.groups:
        return {name: 1.0}
    if name in path:
        raise UserError(f"config: groups.{name}: is a member of itself: {' -> '.join((*path, name))}")
    members = study.groups[name].members
    found: Shares = {}
    for member in members:
        if member not in study.groups and member not in study.collections:
            valid = [*study.collections, *study.groups]
            raise UserError(
                f"config: groups.{name}.members: no collection or group {member!r}; {nearest(member, valid)}"
            )
        for collection, share in _shares(study, member, (*path, name)).items():
            found[collection] = math.fsum((found.get(collection, 0.0), share / len(members)))
    return found


def members(study: Study, name: str) -> list[str]:
    """The collections behind a name: those of a group, or the one that it names."""
    return list(shares(study, name))


def check_groups(study: Study) -> None:
    """Raise a UserError for a group with a name of a collection, without such members, or in a circle."""
    for name in study.groups:
        if name in study.collections:
            raise UserError(f"config: groups.{name}: collections has an entry of that name too; rename one")
        shares(study, name)
