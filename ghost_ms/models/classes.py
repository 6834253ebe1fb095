"""Names of classes: the one place that says which class of the data is which class of a network.

Labels are places in a list of names, so data whose folders are called as the network's classes are, but come in another
order, would be measured at the accuracy of a guess. Everything here goes by name; where names cannot decide, a sentence
says what was taken, or that nothing can be.
"""
import collections
import re
import unicodedata
from typing import Dict, Iterable, List, NamedTuple, Optional, Sequence

from ghost_ms.core.text import natural, printable, some
from ghost_ms.models.imagenet import imagenet_ids, imagenet_names

WORDNET_ID = re.compile(r"n\d{8}")


class Match(NamedTuple):
    """Where the data's classes are among the network's, in the data's order; and what is to be said of it."""

    places: List[int]
    notes: List[str]


def match(there: Sequence[str], known: Sequence[str], kind: str = "class") -> Match:
    """Find each class of the data among those of a network.

    Names are compared as they are; then without regard to case, blanks, underscores and the form of Unicode, as long as
    that leaves no doubt. A network with ImageNet's names understands WordNet ids (n01440764). To a network whose
    classes have numbers for names ('class 0') the data's own order is given. The data may lack classes of the network.

    Args:
        there: names of the data's classes.
        known: names of the network's classes.
        kind: what a sentence calls a class of the data, such as 'folder'.

    Raises:
        ValueError: a class of the data that the network does not know, or a name that could mean two.
    """
    there, known = list(there), list(known)
    if there == known:
        return Match(list(range(len(known))), [])
    if _takes_any_order(there, known):
        return Match(list(range(len(known))), [
            f"the network's {len(known)} classes have no names ('{known[0]}', ...): the data's are taken in their own "
            f"order, '{printable(there[0])}' first"])
    found = _by_id(there, known) or _by_name(there, known, kind)
    lacking = [f"the data has {len(there)} of the network's {len(known)} classes"] if len(there) < len(known) else []
    return Match(found.places, found.notes + lacking)


def _takes_any_order(there: Sequence[str], known: Sequence[str]) -> bool:
    """Whether the network's names are numbers that a converted file got for want of names, and the data's are not."""
    numbered = len(there) == len(known) and all(name == f"class {place}" for place, name in enumerate(known))
    return numbered and not set(map(folded, there)) & set(map(folded, known))


def _by_id(there: Sequence[str], known: Sequence[str]) -> Optional[Match]:
    """The match of WordNet ids with ImageNet's names; None where it is not about these."""
    if not all(map(WORDNET_ID.fullmatch, there)) or known != imagenet_names():
        return None
    found = _by_name(there, imagenet_ids(), "folder")
    return Match(found.places, ["the data's WordNet ids are matched with ImageNet's classes: "
                                f"'{there[0]}' is '{known[found.places[0]]}'"])


def _by_name(there: Sequence[str], known: Sequence[str], kind: str) -> Match:
    exact, loose = _places_of(known), _places_of(map(folded, known))
    candidates = [exact.get(name) or loose.get(folded(name), []) for name in there]
    unknown = [name for name, found in zip(there, candidates) if not found]
    wanted = [found[0] for found in candidates if found]
    uses = collections.Counter(wanted)
    missing = sorted({known[place] for place in set(range(len(known))) - set(uses)}, key=natural)
    faults = [f"the data has {some(sorted(unknown, key=natural))}, which the network does not know"] if unknown else []
    faults += [f"the data has no {kind} {some(missing)}"] if unknown and missing else []
    for name, found in zip(there, candidates):
        same = len(found) > 1 and found == exact.get(name)
        if same:
            faults.append(f"two of the network's have the same name, '{printable(name)}'")
        elif len(found) > 1:
            faults.append(f"'{printable(name)}' could be {some([known[place] for place in found])} of the network's")
        elif found and uses[found[0]] > 1:
            faults.append(f"'{printable(name)}' is not the only one that could be '{printable(known[found[0]])}'")
    if faults:
        raise ValueError(f"the data does not have the {len(known)} classes of the network: {'; '.join(faults[:3])}; "
                         "rename the classes of the data, or take a network that was trained on them")
    respelled = [(name, known[place]) for name, place in zip(there, wanted) if name != known[place]]
    notes = []
    if respelled:
        more = f" and {len(respelled) - 1} more" if len(respelled) > 1 else ""
        notes.append("classes that the network spells otherwise are taken for its own: "
                     f"'{printable(respelled[0][0])}' for '{printable(respelled[0][1])}'{more}")
    return Match(wanted, notes)


def folded(name: str) -> str:
    """A name without case, blanks and underscores, in one form of Unicode."""
    return re.sub(r"[\s_]+", "", unicodedata.normalize("NFKC", name).casefold())


def _places_of(names: Iterable[str]) -> Dict[str, List[int]]:
    places: Dict[str, List[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(name, []).append(place)
    return places
