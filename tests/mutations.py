"""Ways to damage a file, or to change it so that its format still holds; all drawn from a generator that is passed."""
import json
import zlib

#: Integers at which readers go wrong: around powers of two, signs, and the codes of types.
INTEGERS = (0, 1, 2, 3, 7, 8, 16, 17, 22, 40, -1, -2, 127, 255, 256, 1 << 15, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 40,
            1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


def damage(data, draw):
    """A cut, flipped bits, overwritten bytes, a removed, repeated, moved or zeroed part; the head is hit most."""
    kind = draw.choice(("cut", "bits", "bits", "bytes", "removed", "repeated", "moved", "zeroed", "length"))
    reach = min(len(data), draw.choice((64, 4096, len(data))))
    start = draw.randrange(reach)
    end = min(len(data), start + draw.choice((1, 2, 8, 64, 512)))
    if kind == "cut":
        return data[:start]
    if kind == "removed":
        return data[:start] + data[end:]
    if kind == "repeated":
        return data[:end] + data[start:]
    if kind == "moved":
        to = draw.randrange(len(data))
        return data[:to] + data[start:end] + data[to:]
    changed = bytearray(data)
    if kind == "zeroed":
        changed[start:end] = bytes(end - start)
    elif kind == "length":
        width = draw.choice((1, 2, 4, 8))
        changed[start:start + width] = (draw.choice(INTEGERS) & (1 << 8 * width) - 1).to_bytes(width, "little")
    for _ in range(draw.choice((1, 1, 2, 8)) if kind in ("bits", "bytes") else 0):
        at = draw.randrange(reach)
        changed[at] = draw.randrange(256) if kind == "bytes" else changed[at] ^ 1 << draw.randrange(8)
    return bytes(changed)


def splice(data, other, draw):
    """The head of one file and the tail of another."""
    return data[:draw.randrange(len(data))] + other[draw.randrange(len(other)):]


def _varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def _read_varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at


def parse(data, depth=0):
    """A protocol buffer as a list of [number, wire type, value], where what can be a message is one; None for what is
    none."""
    at, found = 0, []
    try:
        while at < len(data):
            key, at = _read_varint(data, at)
            number, wire = key >> 3, key & 7
            if not 0 < number < 64 or wire not in (0, 1, 2, 5):
                return None
            size = {1: 8, 5: 4}.get(wire, 0)
            value, at = _read_varint(data, at) if wire in (0, 2) else (None, at)
            if wire != 0:
                size = value if wire == 2 else size
                value, at = data[at:at + size], at + size
                if len(value) < size:
                    return None
                inner = parse(value, depth + 1) if wire == 2 and depth < 8 and not _is_text(value) else None
                value = inner if inner else value
            found.append([number, wire, value])
    except ValueError:
        return None
    return found


def _is_text(value):
    return value.isascii() and value.decode().isprintable()


def dump(tree):
    """The bytes of what `parse` gave."""
    out = []
    for number, wire, value in tree:
        value = dump(value) if isinstance(value, list) else value
        head = _varint(number << 3 | wire)
        out.append(head + (_varint(value) if wire == 0 else _varint(len(value)) + value if wire == 2 else value))
    return b"".join(out)


def _places(tree):
    for index, (_, _, value) in enumerate(tree):
        yield tree, index
        if isinstance(value, list):
            yield from _places(value)


def _copy(value):
    return [[number, wire, _copy(inner)] for number, wire, inner in value] if isinstance(value, list) else value


def _changed(value, wire, others, draw):
    if isinstance(value, list):
        return value[:draw.randrange(len(value) + 1)]
    if wire == 0:
        return draw.choice((draw.choice(INTEGERS), value + draw.choice((-1, 1)), value ^ 1 << draw.randrange(8)))
    if wire in (1, 5):
        return draw.choice((bytes(len(value)), b"\xff" * len(value), b"\0" * (len(value) - 2) + b"\xc0\x7f"))
    spoiled = bytearray(value)
    if spoiled:
        spoiled[draw.randrange(len(spoiled))] = draw.randrange(256)
    return draw.choice((bytes(spoiled), value[:len(value) // 2], value * 2, b"", draw.choice(others),
                        draw.choice(others)))


def protobuf_edit(data, draw):
    """The same protocol buffer with fields changed, dropped, doubled, swapped, moved or renumbered; damage where it is
    none."""
    tree = parse(data)
    if not tree:
        return damage(data, draw)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        places = list(_places(tree))
        if not places:
            break
        owner, index = draw.choice(places)
        number, wire, value = owner[index]
        kind = draw.choice(("value", "value", "value", "value", "drop", "double", "swap", "move", "number"))
        if kind == "value":
            others = [o[i][2] for o, i in places if o[i][1] == 2 and isinstance(o[i][2], bytes)] or [b""]
            owner[index][2] = _changed(value, wire, others, draw)
        elif kind == "drop":
            del owner[index]
        elif kind == "double":
            owner.insert(index, [number, wire, _copy(value)])
        elif kind == "swap":
            other = draw.randrange(len(owner))
            owner[index], owner[other] = owner[other], owner[index]
        elif kind == "move":
            source, place = draw.choice(places)
            owner[index] = _copy([source[place]])[0]
        else:
            owner[index][0] = draw.randrange(1, 21)
    return dump(tree)


def _json_value(draw):
    return draw.choice((None, True, False, 0, 1, -1, 2 ** 31, 2 ** 63, 10 ** 20, 10 ** 400, 0.5, -0.0, 1e308, 1e-308,
                        float("nan"), float("inf"), "", "x", "../../etc/passwd", "\x1b[2J", "\ud800", "x" * 5000, [],
                        [[]], [0] * 3, {}, {"": {}}, {"class_path": "os.system"}, [1, "a", None], [2 ** 62] * 4))


def json_edit(data, draw):
    """The same JSON text with values replaced, dropped, doubled, renamed or nested, or damaged as text."""
    try:
        tree = [json.loads(data)]
    except ValueError:
        return damage(data, draw)
    if draw.random() < 0.1:
        return damage(data, draw)
    if draw.random() < 0.02:
        return b"[" * draw.choice((100, 100000))
    for _ in range(draw.choice((1, 1, 2, 4))):
        places = list(_json_places(tree))
        owner, key = draw.choice(places)
        kind = draw.choice(("value", "value", "value", "drop", "name", "copy", "digit"))
        if kind == "drop" and owner is not tree:
            del owner[key]
        elif kind == "name" and isinstance(owner, dict):
            owner[draw.choice((key + "x", "__class__", "name", "pretrained", ""))] = owner.pop(key)
        elif kind == "copy":
            source, place = draw.choice(places)
            owner[key] = json.loads(json.dumps(source[place]))
        elif kind == "digit" and type(owner[key]) in (int, float):
            # The quotient of a very long integer is no float.
            quotient = owner[key] / 7 if abs(owner[key]) < 1e300 else 0
            owner[key] = draw.choice((owner[key] * 10, -owner[key], owner[key] + 1, quotient))
        else:
            owner[key] = _json_value(draw)
    return json.dumps(tree[0] if tree else None).encode()


def _json_places(value):
    keys = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
    for key in keys:
        yield value, key
        yield from _json_places(value[key])


def ckpt_edit(data, draw):
    """A MindSpore checkpoint with an edited structure, or an edited JSON text in it; mostly with the right checksum."""
    if data[-17:-10] == b"crc_num":
        data = data[:-17]
    tree = parse(data)
    texts = [entry for entry in tree if isinstance(entry[2], list) and entry[2][-1][2][1][2] == b"str"] if tree else []
    if texts and draw.random() < 0.5:
        content = draw.choice(texts)[2][-1][2][-1]
        edited = json_edit(content[2].decode("utf-32-le").encode(errors="surrogatepass"), draw)
        content[2] = edited.decode(errors="replace").encode("utf-32-le", errors="surrogatepass")
        data = dump(tree)
    else:
        data = protobuf_edit(data, draw)
    return data + b"crc_num" + zlib.crc32(data).to_bytes(10, "big") if draw.random() < 0.8 else data
