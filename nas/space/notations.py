"""The registry of notations: how others write architectures down, read from any text and written again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from nas.core.files import is_file
from nas.core.literals import Call, named_values, shown
from nas.core.plugins import load_on_demand
from nas.core.registry import Registry
from nas.errors import ConfigError, NasError, one_line, printable, unknown
from nas.space.genotypes import GenotypeInfo
from nas.space.space import SPACES
from nas.types import Architecture

Noted: TypeAlias = GenotypeInfo | Architecture
"""What a notation can write: two cells, or a point of a space."""
_LEVELS = 4
"""How deep in lists and objects networks are looked for."""
_PLAIN = ("genotype", "arch", "spec", "net", "architecture")
"""Names of a field that holds a network, which do not tell it from others."""
_LOOKS = re.compile(
    r"\s*(\[|\{|\(|\||'|\"|\d+\s+\d|\w+\s*=)|.*[\n{]|.*\b(Genotype\d?|ModelSpec|Configuration)\(|.*~0\|", re.S
)


@dataclass(frozen=True)
class Notation:
    """A way in which others write architectures down."""

    name: str
    """As in ``nas convert --to NAME``."""
    about: str
    """What it looks like, and whose it is."""
    claims: Callable[[Any], bool]
    """Whether a value of :func:`nas.core.literals.named_values`, or a whole text, is written so."""
    read: Callable[[Any], Noted]
    """Reads such a value; :class:`SpaceError` with the rule that it breaks."""
    write: Callable[[Noted], str]
    """Writes it; :class:`SpaceError` where the network is no point of the encoding."""
    spaces: tuple[str, ...] = ()
    """The spaces whose own notation it is."""


NOTATIONS: Registry[Notation] = Registry("notation", partial(load_on_demand, "genotype"))


def register_notation(notation: Notation) -> None:
    """Register a notation under its name."""
    NOTATIONS.add(notation.name, notation)


def is_written(text: str) -> bool:
    """Return whether ``text`` looks like an architecture that is written down, rather than a name or a path."""
    return not is_file(text) and _LOOKS.match(text) is not None


def read_written(text: str, name: str = "", where: str = "the text") -> tuple[str, Noted]:
    """Return the network in ``text`` and the name that it has there, as :func:`find_written`; none is ConfigError."""
    found = find_written(text, name, where)
    if found is None:
        known = ", ".join(NOTATIONS)
        raise ConfigError(f"{where}: no architecture is written there, found {shown(text)} (known notations: {known})")
    return found


def find_written(text: str, name: str = "", where: str = "the text") -> tuple[str, Noted] | None:
    """Return the network in ``text`` and the name that it has there ("" for none); None where no notation is found.

    ``name`` chooses among several; ``where`` names the text in errors. Nothing of it is executed. A text of several,
    of which none is chosen, raises :class:`ConfigError`, and one that breaks a rule of its notation
    :class:`SpaceError`.
    """
    try:
        values = named_values(text)
    except NasError as error:
        raise ConfigError(f"{where}: {one_line(error)}") from None
    # fields that are assigned one by one, then each value, then what is no data and may be a notation of its own
    together = {given: value for given, value in values if given}
    found = list(_claims("", together, 0))
    found = found or [claim for given, value in values for claim in _claims(given, value, _LEVELS)]
    found = found or list(_claims("", text.strip(), 0))
    if not found:
        return None
    by_name = {
        given or f"{number}": (given, notation, value) for number, (given, notation, value) in enumerate(found, 1)
    }
    if name:
        if name not in by_name:
            raise ConfigError(f"{where}: {unknown('name', name, by_name)}")
        _, notation, value = by_name[name]
        return name, notation.read(value)
    given, notation, value = next(iter(by_name.values()))
    if any(other != value for _, _, other in by_name.values()):
        names = printable(", ".join(by_name), 120)
        raise ConfigError(f"{where} holds {len(by_name)} networks; name one as FILE:NAME, of {names}")
    return given, notation.read(value)


def _claims(name: str, value: Any, levels: int) -> Iterator[tuple[str, Notation, Any]]:
    """Yield what is written in a value, with its name: the value itself, or what stands in it."""
    for notation in map(NOTATIONS.__getitem__, NOTATIONS):
        if notation.claims(value):
            yield name, notation, value
            return
    if levels:
        inner = value.fields if isinstance(value, Call) else value if isinstance(value, Mapping) else {}
        numbered = enumerate(value) if isinstance(value, list) else ()
        for key, held in (*inner.items(), *numbered):
            if isinstance(held, Mapping | list | str | Call):
                # a name that says no more than that it is one gives way to the one around it
                yield from _claims(name if key in _PLAIN and name else str(key), held, levels - 1)


def noted_name(noted: Noted) -> str:
    """Return a name for what has none: its space, or ``genotype``, and the beginning of its canonical key."""
    if isinstance(noted, Architecture):
        return f"{noted.space}_{SPACES[noted.space].with_args(dict(noted.args)).key(noted)[:8]}"
    return f"genotype_{noted.key[:8]}"


def notation_of(noted: Noted) -> str | None:
    """Return the name of the notation that the network's space has; None where it has none."""
    spaces = (noted.space,) if isinstance(noted, Architecture) else tuple(noted.points)
    return next((known for known in NOTATIONS if set(spaces) & set(NOTATIONS[known].spaces)), None)
