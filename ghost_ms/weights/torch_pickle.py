"""A pickle machine that runs nothing: it builds numbers, text, containers and what an allow-list names.

Python's own unpickler imports and calls what a file asks for. This one knows neither imports nor calls: a global is
looked up in a table that its caller passes, and only an entry of that table can be applied to arguments. What a file
can spend is bounded too: instructions, bytes of text, and the size of an integer.
"""
import pickletools
import struct
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

#: A checkpoint of weights, EMA weights and optimizer needs about 30 instructions a tensor: far below these.
MOST_INSTRUCTIONS, MOST_BYTES, MOST_INTEGER_BYTES = 1_000_000, 64 << 20, 64

_NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
_MARK = object()


class Global(NamedTuple):
    """A name of the allow-list; `build` makes a value of its arguments, or is None where nothing may be called."""

    name: str
    build: Optional[Callable] = None


class Attributes(dict):
    """An object of which only the attributes are kept."""


class Budget:
    """What one file may still spend; `spend` raises ValueError when it is used up."""

    def __init__(self):
        self.instructions, self.bytes = MOST_INSTRUCTIONS, MOST_BYTES

    def spend(self, instructions: int = 0, size: int = 0) -> None:
        self.instructions -= instructions
        self.bytes -= size
        if self.instructions < 0:
            raise ValueError(f"its pickle has more than {MOST_INSTRUCTIONS:,} instructions, which no checkpoint needs")
        if self.bytes < 0:
            raise ValueError(f"its pickle holds more than {MOST_BYTES >> 20} MiB besides tensors, which no checkpoint "
                             "needs")


class Machine:
    """Reads one pickle from `data` at `position`; `run` returns its value and leaves `position` behind it.

    Args:
        data: the whole file or record.
        position: where the pickle starts.
        find: maps (module, name) to a `Global`; raises ValueError for what is not allowed.
        persistent: maps a persistent id (a tuple) to a value.
        budget: shared by all pickles of a file.
    """

    def __init__(self, data, position: int, find: Callable[[str, str], Global],
                 persistent: Optional[Callable[[Any], Any]], budget: Budget):
        self.data, self.position, self.size = data, position, len(data)
        self.find, self.persistent, self.budget = find, persistent, budget
        self.stack: List[Any] = []
        self.memo: Dict[int, Any] = {}

    def run(self) -> Any:
        """The value of the pickle.

        Raises:
            ValueError: the pickle is cut, malformed, too large, or asks for something that is not allowed.
        """
        actions, stop, budget = _ACTIONS, ord("."), self.budget
        while True:
            at = self.position
            if at >= self.size:
                raise ValueError(f"it is cut off: its pickle does not end before byte {at}")
            code = self.data[at]
            self.position = at + 1
            budget.instructions -= 1
            if budget.instructions < 0:
                budget.spend()
            if code == stop:
                break
            action = actions.get(code)
            if action is None:
                raise ValueError(f"its pickle uses the instruction {_NAMES.get(code, hex(code))} (byte {at}), which "
                                 "no file of weights needs")
            try:
                action(self)
            except (IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
                raise ValueError(f"its pickle is damaged: the instruction {_NAMES[code]} at byte {at} does not fit "
                                 "what stands before it") from None
        if len(self.stack) != 1 or self.stack[0] is _MARK:
            raise ValueError(f"its pickle is damaged: it ends at byte {self.position} with an unfinished value")
        return self.stack[0]

    def take(self, count: int):
        """The next `count` bytes."""
        end = self.position + count
        if count < 0 or end > self.size:
            raise ValueError(f"it is cut off or damaged: {count} bytes are wanted at byte {self.position} of "
                             f"{self.size}")
        part = self.data[self.position:end]
        self.position = end
        return part

    def line(self) -> str:
        """Text up to the next line break, which is taken too; at most 1000 bytes."""
        window = bytes(self.data[self.position:self.position + 1001])
        length = window.find(b"\n")
        if length < 0:
            raise ValueError(f"its pickle is damaged: a name at byte {self.position} does not end")
        self.position += length + 1
        return _text(window[:length])

    def sized(self, form: str) -> bytes:
        """A byte string that follows its length, which has the `struct` form given."""
        length = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        part = self.take(length)
        self.budget.spend(size=length)
        return bytes(part)

    def since_mark(self) -> List[Any]:
        """Everything above the last mark, which is removed with it."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                items = self.stack[index + 1:]
                del self.stack[index:]
                return items
        raise IndexError

    def apply(self, wanted: Any, arguments: Any) -> Any:
        """The value that an allowed name makes of its arguments."""
        if not isinstance(wanted, Global) or wanted.build is None:
            name = wanted.name if isinstance(wanted, Global) else f"a {type(wanted).__name__}"
            raise ValueError(f"it asks to call {name}, which is refused")
        if not isinstance(arguments, tuple):
            raise TypeError
        return wanted.build(self.budget, *arguments)

    def store(self, index: int) -> None:
        top = self.stack[-1]
        if top is _MARK:
            raise IndexError
        self.memo[index] = top

    def pop(self) -> Any:
        top = self.stack.pop()
        if top is _MARK:
            raise IndexError
        return top


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise ValueError("its pickle is damaged: a text is not UTF-8") from None


def _integer(raw: bytes) -> int:
    if len(raw) > MOST_INTEGER_BYTES:
        raise ValueError(f"its pickle holds an integer of {len(raw)} bytes, which no checkpoint needs")
    return int.from_bytes(raw, "little", signed=True)


def dictionary_key(value: Any) -> Any:
    """A dictionary key of a kind whose hashes cannot be made to collide on purpose."""
    if isinstance(value, int) and abs(value) >= 1 << 60:
        raise ValueError("its pickle has a dictionary with a key beyond 60 bits")
    if value is None or isinstance(value, (str, int, bytes)):
        return value
    raise ValueError(f"its pickle has a dictionary with a {type(value).__name__} for a key")


def _set_items(target: Any, items: List[Any]) -> None:
    if not isinstance(target, dict) or len(items) % 2:
        raise TypeError
    for index in range(0, len(items), 2):
        target[dictionary_key(items[index])] = items[index + 1]


def _append_items(target: Any, items: List[Any]) -> None:
    if not isinstance(target, list):
        raise TypeError
    target.extend(items)


def _push(value: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(value(machine))


def _put(index: Callable[[Machine], int]) -> Callable[[Machine], None]:
    return lambda machine: machine.store(index(machine))


def _unpack(form: str) -> Callable[[Machine], Any]:
    size = struct.calcsize(form)
    return lambda machine: struct.unpack(form, machine.take(size))[0]


def _tuple(count: int) -> Callable[[Machine], Tuple]:
    return lambda machine: tuple([machine.pop() for _ in range(count)][::-1])


def _find(machine: Machine) -> Global:
    return machine.find(machine.line(), machine.line())


def _find_on_stack(machine: Machine) -> Global:
    name, module = machine.pop(), machine.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise TypeError
    return machine.find(module[:1000], name[:1000])


def _reduce(machine: Machine) -> Any:
    arguments, wanted = machine.pop(), machine.pop()
    return machine.apply(wanted, arguments)


def _persistent(machine: Machine) -> Any:
    if machine.persistent is None:
        raise ValueError("its pickle refers to a storage where none is expected")
    return machine.persistent(machine.pop())


def _build(machine: Machine) -> None:
    state, target = machine.pop(), machine.stack[-1]
    if isinstance(target, Attributes):
        if isinstance(state, dict):
            machine.budget.spend(len(state))
            target.update(state)
    elif hasattr(target, "set_state"):
        target.set_state(state)
    elif not isinstance(target, dict):
        # A dictionary's own attributes (`_metadata` of a state dict) hold no weight and are left out.
        raise TypeError


def _set_item(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    _set_items(machine.stack[-1], [key, value])


def _set_marked(machine: Machine) -> None:
    items = machine.since_mark()
    _set_items(machine.stack[-1], items)


def _append(machine: Machine) -> None:
    value = machine.pop()
    _append_items(machine.stack[-1], [value])


def _append_marked(machine: Machine) -> None:
    items = machine.since_mark()
    _append_items(machine.stack[-1], items)


_ACTIONS: Dict[int, Callable[[Machine], None]] = {_code[0]: _action for _code, _action in {
    b"\x80": lambda machine: machine.take(1),                       # PROTO
    b"\x95": lambda machine: machine.take(8),                       # FRAME
    b"(": lambda machine: machine.stack.append(_MARK),
    b"0": lambda machine: machine.stack.pop(),
    b"1": lambda machine: machine.since_mark(),
    b"N": _push(lambda machine: None),
    b"\x88": _push(lambda machine: True),
    b"\x89": _push(lambda machine: False),
    b"J": _push(_unpack("<i")),
    b"K": _push(_unpack("<B")),
    b"M": _push(_unpack("<H")),
    b"G": _push(_unpack(">d")),
    b"\x8a": _push(lambda machine: _integer(machine.sized("<B"))),  # LONG1
    b"\x8b": _push(lambda machine: _integer(machine.sized("<i"))),  # LONG4
    b"T": _push(lambda machine: machine.sized("<i").decode("latin-1")),
    b"U": _push(lambda machine: machine.sized("<B").decode("latin-1")),
    b"X": _push(lambda machine: _text(machine.sized("<I"))),
    b"\x8c": _push(lambda machine: _text(machine.sized("<B"))),
    b"\x8d": _push(lambda machine: _text(machine.sized("<Q"))),
    b"B": _push(lambda machine: machine.sized("<I")),
    b"C": _push(lambda machine: machine.sized("<B")),
    b"\x8e": _push(lambda machine: machine.sized("<Q")),
    b"\x96": _push(lambda machine: machine.sized("<Q")),            # BYTEARRAY8
    b")": _push(lambda machine: ()),
    b"]": _push(lambda machine: []),
    b"}": _push(lambda machine: {}),
    b"\x8f": _push(lambda machine: []),                             # a set is kept as a list: nothing is hashed
    b"t": _push(lambda machine: tuple(machine.since_mark())),
    b"\x85": _push(_tuple(1)),
    b"\x86": _push(_tuple(2)),
    b"\x87": _push(_tuple(3)),
    b"\x91": _push(lambda machine: machine.since_mark()),           # FROZENSET
    b"a": _append,
    b"e": _append_marked,
    b"\x90": _append_marked,                                        # ADDITEMS
    b"s": _set_item,
    b"u": _set_marked,
    b"c": _push(_find),
    b"\x93": _push(_find_on_stack),
    b"R": _push(_reduce),
    b"\x81": _push(_reduce),                                        # NEWOBJ
    b"b": _build,
    b"q": _put(_unpack("<B")),
    b"r": _put(_unpack("<I")),
    b"\x94": _put(lambda machine: len(machine.memo)),
    b"h": _push(lambda machine: machine.memo[_unpack("<B")(machine)]),
    b"j": _push(lambda machine: machine.memo[_unpack("<I")(machine)]),
    b"Q": _push(_persistent),
}.items()}
