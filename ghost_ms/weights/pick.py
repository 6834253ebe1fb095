"""Which entries of a weight file are meant: the dictionary inside it, and what stands before every name."""
import collections
import re
from typing import Callable, Collection, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from ghost_ms.core.text import printable

#: Dictionaries of training checkpoints that hold the weights, and their averages, in order of preference.
ENTRIES = ("state_dict", "model", "model_state_dict", "net", "model_state", "params", "module")
EMA_ENTRIES = ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "ema_model", "params_ema")
#: Entries of PyTorch files that hold no weight: counters, and what a FLOP counter left behind.
BOOKKEEPING = re.compile(r"(^|\.)(num_batches_tracked|total_ops|total_params|n_averaged)$")
#: What torch.compile puts before the names of the module that it compiled, a whole network or a part of it.
_COMPILED = re.compile(r"(^|(?<=\.))_orig_mod\.")
_PARALLEL, _PARALLELS = "module.", re.compile(r"(?:module\.)*")
#: Components of a prefix that is removed unasked where all entries fit without it.
_WRAPPERS = frozenset(("module", "_orig_mod", "backbone", "model", "net", "encoder"))
#: Beyond these a name is no parameter's, and is not searched for prefixes.
_LONGEST_NAME, _DEEPEST_NAME = 500, 32


def shown(names: Iterable[str], most: int = 8) -> str:
    """Names out of a file, for a sentence."""
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(printable(name[:100]) for name in names[:most]) + rest


def pick(tensors: Mapping[str, np.ndarray], ema: bool = False,
         entry: Optional[str] = None) -> Tuple[str, Dict[str, np.ndarray], List[str]]:
    """(entry, its state dict without the names of wrappers, names of everything else) of a file that was read.

    `module.` (DataParallel, averaged models) goes where all names begin with it, `_orig_mod.` (torch.compile)
    wherever it stands.

    Args:
        ema: take the EMA weights.
        entry: the dictionary to take, nested ones joined by '/'; by default it is found.

    Raises:
        ValueError: there is no such entry; the sentence lists those there are.
    """
    if entry is not None and ema:
        raise ValueError("--entry names the dictionary to take, so --ema has nothing to choose; give one of them")
    start = _find_entry(tensors, ema) if entry is None else _given_entry(tensors, entry)
    state = {name[len(start):]: value for name, value in tensors.items()
             if name.startswith(start) and "/" not in name[len(start):]}
    others = [name for name in tensors if not name.startswith(start) or "/" in name[len(start):]]
    return start.rstrip("/"), _unwrapped(state), others


def _groups(names: Iterable[str]) -> List[str]:
    return sorted({name.partition("/")[0] for name in names if "/" in name})


def _below(names: Iterable[str], start: str) -> List[str]:
    return [name[len(start):] for name in names if name.startswith(start)]


def _find_entry(tensors: Mapping[str, np.ndarray], ema: bool) -> str:
    groups, plain = _groups(tensors), any("/" not in name for name in tensors)
    found = [name for name in (EMA_ENTRIES if ema else ENTRIES) if name in groups]
    if not found:
        if plain and not ema:
            return ""
        what = "EMA weights" if ema else "weights"
        inside = f"its entries are {shown(groups)}" if groups else "it is a plain state dict"
        if not ema and set(groups) & set(EMA_ENTRIES):
            raise ValueError(f"it holds no {what}: {inside}; take the EMA weights with --ema")
        raise ValueError(f"it holds no {what}: {inside}" + ("; name the one to take with --entry" if groups else ""))
    start = found[0] + "/"
    while True:
        names = _below(tensors, start)
        if any("/" not in name for name in names):
            return start
        groups = _groups(names)
        inner = [name for name in ENTRIES if name in groups]
        if not inner:
            raise ValueError(f"its entry '{printable(start[:-1])}' holds no weights itself, but {shown(groups)}; name "
                             f"the one to take with --entry, such as --entry {printable(start + groups[0])[:100]}")
        start += inner[0] + "/"


def _given_entry(tensors: Mapping[str, np.ndarray], entry: str) -> str:
    start = entry.strip("/") + "/"
    if start != "/" and any("/" not in name for name in _below(tensors, start)):
        return start
    inside = sorted({name.rpartition("/")[0] for name in tensors if "/" in name})
    what = f"its entries are {shown(inside)}" if inside else "it is a plain state dict; leave --entry out"
    raise ValueError(f"it has no entry '{printable(entry)}' with weights: {what}")


def _unwrapped(state: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
    names = {name: _COMPILED.sub("", name) for name in state}
    depth = min((_depth(short) for short in names.values() if not BOOKKEEPING.search(short)), default=0)
    names = {name: short[min(depth, _depth(short)) * len(_PARALLEL):] for name, short in names.items()}
    result = {short: state[name] for name, short in names.items()}
    if len(result) != len(state):
        twice = collections.Counter(names.values()).most_common(1)[0][0]
        raise ValueError(f"two of its entries are called '{printable(twice[:100])}' once module. and _orig_mod. are "
                         "removed")
    return result


def _depth(name: str) -> int:
    """How many `module.` a name begins with."""
    return len(_PARALLELS.match(name).group()) // len(_PARALLEL)


class Wanted(NamedTuple):
    """What a network takes.

    Args:
        names: of all its entries.
        heads: those of the classifier.
        optional: whether the classifier may be missing.
        spare: tells of a name whether the network can do without that entry though nothing takes it.
    """

    names: Collection[str]
    heads: Collection[str]
    optional: bool
    spare: Callable[[str], bool]

    def fits(self, given: Collection[str]) -> bool:
        """Whether every name of the network is there, and nothing else."""
        lacking = [name for name in self.names if name not in given]
        if lacking and not (self.optional and set(lacking) <= set(self.heads)):
            return False
        return all(name in self.names or self.spare(name) for name in given)


def without_prefix(state: Mapping[str, np.ndarray], wanted: Wanted,
                   prefix: Optional[str] = None) -> Tuple[str, Dict[str, np.ndarray], List[str]]:
    """(prefix, entries under it, names of the others); the prefix is '' where the names are taken as they are.

    Args:
        prefix: what to remove, and to leave out every entry without it. By default one of wrappers' names
            (`backbone.`, `model.`, `net.`, `encoder.` and mixtures) is removed where every entry fits only then.

    Raises:
        ValueError: no name begins with `prefix`.
    """
    if prefix is not None:
        start = prefix if prefix.endswith((".", "/")) or not prefix else prefix + "."
        inner, outside = _split(state, start)
        if not inner:
            raise ValueError(f"none of its names begins with '{printable(start)}'; they begin with "
                             f"{shown(sorted({name.partition('.')[0] + '.' for name in state}))}")
        return start, inner, outside
    if not wanted.fits(state):
        for start, _ in prefixes(state, wanted):
            inner, outside = _split(state, start)
            if set(start[:-1].split(".")) <= _WRAPPERS and wanted.fits(inner) and all(
                    BOOKKEEPING.search(name) for name in outside):
                return start, inner, outside
    return "", dict(state), []


def prefixes(state: Iterable[str], wanted: Wanted) -> List[Tuple[str, int]]:
    """Prefixes before names that the network takes, and how often each stands there, the commonest first."""
    names = set(wanted.names)
    found: collections.Counter = collections.Counter()
    for name in state:
        if len(name) > _LONGEST_NAME or name.count(".") > _DEEPEST_NAME:
            continue
        place = name.find(".")
        while place >= 0:
            if name[place + 1:] in names:
                found[name[:place + 1]] += 1
            place = name.find(".", place + 1)
    return found.most_common(8)


def prefix_hint(state: Mapping[str, np.ndarray], wanted: Wanted) -> str:
    """What to say of a file whose names would fit behind a prefix; '' where they would not."""
    for start, count in prefixes(state, wanted):
        inner, outside = _split(state, start)
        if 2 * count < len(wanted.names) or start in ("module.", "_orig_mod."):
            continue
        lacking = [name for name in wanted.names if name not in inner]
        if lacking and not set(lacking) <= set(wanted.heads):
            continue
        fresh = ", with a fresh classifier: --head new" if lacking and not wanted.optional else ""
        rest = f", and leave out {len(outside)} others ({shown(outside, 3)})" if outside else ""
        return f"; {len(inner)} of its names begin with '{printable(start)}': take these with --prefix " \
               f"{printable(start[:-1])}{rest}{fresh}"
    return ""


def _split(state: Mapping[str, np.ndarray], start: str) -> Tuple[Dict[str, np.ndarray], List[str]]:
    inner = {name[len(start):]: value for name, value in state.items() if name.startswith(start)}
    return inner, [name for name in state if not name.startswith(start)]
