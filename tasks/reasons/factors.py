"""What reasons are about: players of the explanation, joined and named as the language file says."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tasks.errors import ConfigError, nearest
from tasks.explain import Player
from tasks.load import Feature
from tasks.reasons.principal import Factor, When, Wording, code_of
from tasks.reasons.texts import Language, Reason


def factors_of(
    players: Sequence[Player], features: Sequence[Feature], language: Language | None, columns: Collection[str] = ()
) -> tuple[Factor, ...]:
    """The factors in the order of the players; those of the language file stand where their first player does.

    Args:
        columns: of the data: a reason about one that this model does not take is for another version, and left out.

    Raises:
        ConfigError: the language file names what is no feature, or a part of features that the config binds together.
    """
    by_players: dict[tuple[int, ...], list[Reason]] = {}
    for reason in () if language is None else language.reasons:
        if set(reason.features) <= set(columns) - _taken(players, features):
            continue
        by_players.setdefault(_players(reason, players, features, language), []).append(reason)
    joined = {place for places in by_players for place in places}
    alone = [(place,) for place in range(len(players)) if place not in joined]
    return tuple(
        _factor(places, by_players.get(places, []), players, features, language)
        for places in sorted([*by_players, *alone])
    )


def _taken(players: Sequence[Player], features: Sequence[Feature]) -> set[str]:
    """What the model knows by name."""
    return {*(player.name for player in players), *(feature.name for feature in features)}


def _players(
    reason: Reason, players: Sequence[Player], features: Sequence[Feature], language: Language | None
) -> tuple[int, ...]:
    """The players that a reason's features are: each by its own name, or a bound one by all of its columns."""
    path = None if language is None else language.path
    columns = [feature.name for feature in features]
    names = [player.name for player in players]
    wanted, found = set(reason.features), set()
    for place, player in enumerate(players):
        own = {columns[j] for j in player.columns}
        if player.name in wanted or own <= wanted:
            found.add(place)
            wanted -= {player.name, *own}
        elif own & wanted:
            told = f"{reason.code} names a part of {player.name}, whose columns explain.feature_groups binds together"
            raise ConfigError(told, where=path, values=sorted(own & wanted), hint=f"name {player.name}")
    if wanted:
        known = list(dict.fromkeys([*names, *columns]))
        unknown = sorted(wanted)
        hint = nearest(unknown[0], known)
        told = f"{reason.code} is about what is not a feature of the model"
        raise ConfigError(told, where=path, values=unknown, available=known, hint=hint)
    return tuple(sorted(found))


def _factor(
    places: tuple[int, ...],
    reasons: Sequence[Reason],
    players: Sequence[Player],
    features: Sequence[Feature],
    language: Language | None,
) -> Factor:
    own = [players[place] for place in places]
    columns = sorted(j for player in own for j in player.columns)
    name = ", ".join(player.name for player in own)
    numeric = columns[0] if len(columns) == 1 and features[columns[0]].kind == "number" else None
    directed = [reason for reason in reasons if reason.when is not None]
    if directed and numeric is None:
        told = f"{directed[0].code} says when: {directed[0].when}, and {name} is not a single number"
        raise ConfigError(told, where=None if language is None else language.path, hint="leave when out")
    names = {} if language is None else language.names
    plain = ", ".join(names.get(player.name, player.name.replace("_", " ")) for player in own)
    wordings: dict[When | None, Wording] = {r.when: Wording(r.code, r.text, given=True) for r in reasons}
    return Factor(
        name=name,
        players=places,
        features=tuple(features[j].name for j in columns),
        plain=Wording(code_of(name), plain, given=all(player.name in names for player in own)),
        wordings=wordings,
        column=numeric,
    )
