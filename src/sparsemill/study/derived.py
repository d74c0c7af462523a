"""Points of a sweep as entries of the config: derived ensembles and pre-trainings, and models that points share."""

from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import ValidationError

from sparsemill.errors import UserError
from sparsemill.study.hints import nearest
from sparsemill.study.models import Ensemble, Experiment, Model, Pretraining
from sparsemill.study.models.base import LONGEST_NAME
from sparsemill.study.sweep_keys import ENSEMBLE, PRETRAINING, WORDS, short_keys

Settings = dict[str, Any]
"""Dotted key -> value."""

Resolve = Callable[[str, str, dict[str, Any]], dict[str, Any]]
"""(section, name, changes) -> the entry's keys, `extends` and `scales` resolved, with the changes.

Nothing, where the chosen scale leaves the entry out.
"""

UNTRAINED = frozenset(
    {
        *("seeds", "encode_length", "quantisation", "postings", "prune", "query_prune", "retrieval_idf"),
        *("two_phase", "model", "assumed", "checkpoint_steps"),
    }
)
"""Keys of an experiment that its training does not depend on."""

_MODELS: dict[str, type[Model]] = {"ensembles": Ensemble, "pretrainings": Pretraining, "experiments": Experiment}


def nested(settings: Settings) -> dict[str, Any]:
    """Dotted keys as mappings in mappings."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        *parents, last = key.split(".")
        level = found
        for parent in parents:
            level = level.setdefault(parent, {})
        level[last] = value
    return found


def label(value: Any) -> str:
    """A value as part of a name."""
    if isinstance(value, list):
        return "-".join(map(label, value))
    for word, meaning in WORDS.items():
        if value is meaning:
            return word
    return str(value).replace("+", "")  # 1e+20


def labels(settings: Settings) -> list[str]:
    """`<short key>-<value>` of each key, sorted by key."""
    short = short_keys(sorted(settings))
    return [f"{short[key]}-{label(settings[key])}" for key in sorted(settings)]


def check_length(where: str, name: str) -> None:
    """Raise a UserError for a name that is made of a sweep's values and too long."""
    if len(name) > LONGEST_NAME:
        raise UserError(
            f"config: {where}: {name} would be a name of {len(name)} characters, {LONGEST_NAME} are the most; sweep "
            "fewer keys at once, or shorten the name of the sweep or what its lists name"
        )


def _below(settings: Settings, start: str) -> Settings:
    return {key.removeprefix(start): value for key, value in settings.items() if key.startswith(start)}


class Deriver:
    """Turns points into experiments.

    Attributes:
        added: section -> name -> entry, of the ensembles and pre-trainings that the points need.
    """

    def __init__(self, resolve: Resolve, known: dict[str, Any]) -> None:
        self._resolve, self._known = resolve, known
        self.added: dict[str, dict[str, Any]] = {"ensembles": {}, "pretrainings": {}}

    def experiment(self, where: str, base: str, settings: Settings) -> dict[str, Any]:
        """The keys in which a point differs from the experiment `base`, as an entry of `experiments`.

        Raises:
            UserError: there is no ensemble or pre-training that a key could change.
        """
        return self._overrides(where, "experiments", base, settings)

    def _overrides(self, where: str, section: str, base: str, settings: Settings) -> dict[str, Any]:
        own = {key: value for key, value in settings.items() if not key.startswith((ENSEMBLE, PRETRAINING))}
        for start, kind, key in ((ENSEMBLE, "ensembles", "ensemble"), (PRETRAINING, "pretrainings", "start")):
            if changes := _below(settings, start):
                name = own[key] if key in own else self._resolve(section, base, {}).get(key)
                own[key] = self._derived(f"{where}: {section}.{base}.{key}", kind, name, changes)
        return nested(own)

    def _derived(self, where: str, section: str, name: Any, settings: Settings) -> str:
        """The entry of that name with other settings; the entry itself where they are its own."""
        known = self._known.get(section) or {}
        if not isinstance(name, str) or name not in known or not self._resolve(section, name, {}):
            hint = nearest(str(name), known)
            raise UserError(f"config: {where}: {name} is no entry of {section}, whose keys could be swept; {hint}")
        changes = self._overrides(where, section, name, settings)
        if self.same(section, name, changes):
            return name
        derived = "--".join([name, *labels(settings)])
        check_length(where, derived)
        entry = {"extends": name, **changes}
        if self.added[section].setdefault(derived, entry) != entry:
            raise UserError(
                f"config: {where}: two of {section} would be called {derived}; rename what their lists name"
            )
        return derived

    def same(self, section: str, name: str, changes: dict[str, Any]) -> bool:
        """Whether the changes leave an entry as it is; not so for what is no valid entry, which is told later."""
        model = _MODELS[section]
        try:
            before, after = (model.model_validate(self._resolve(section, name, some)) for some in ({}, changes))
        except ValidationError:
            return False
        return before == after


class _Owner(NamedTuple):
    """An experiment that trains: its recipe, its seeds."""

    name: str
    recipe: dict[str, Any]
    seeds: set[int]


def _owner(name: str, keys: dict[str, Any]) -> _Owner | None:
    """None for what is no valid experiment, which is told later."""
    try:
        found = Experiment.model_validate(keys)
    except ValidationError:
        return None
    return _Owner(found.model or name, found.model_dump(exclude=set(UNTRAINED)), set(found.seeds))


def share_models(resolve: Resolve, members: dict[str, tuple[str, dict[str, Any]]]) -> dict[str, str]:
    """Points that are trained like a base or like an earlier point, and so take its model.

    Args:
        resolve: see `Resolve`.
        members: point -> (base, overrides).

    Returns:
        Point -> the experiment whose model it takes; not for a point that says so itself.
    """
    bases = dict.fromkeys(base for base, _ in members.values())
    owners = [owner for base in bases if (owner := _owner(base, resolve("experiments", base, {})))]
    shared: dict[str, str] = {}
    for member, (base, overrides) in members.items():
        if "model" in overrides:
            continue
        mine = _owner(member, resolve("experiments", base, {**overrides, "model": None}))
        if mine is None:
            continue
        taken = [owner.name for owner in owners if owner.recipe == mine.recipe and mine.seeds <= owner.seeds]
        if taken:
            shared[member] = taken[0]
        else:
            owners.append(mine)
    return shared
