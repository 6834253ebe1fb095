"""HCCL rank tables, version 1.0: which cards train together, and under which addresses. Needs Python alone.

    rank_table.py make [--server-ip IP] [--devices 0,1,4] [--hccn FILE] [-o FILE]    this server's cards
    rank_table.py merge FILE FILE ... [-o FILE]                                      several servers in one table
    rank_table.py check FILE [--size N] [--first-series]                             say what is wrong with a table
    rank_table.py local FILE [--server-ip IP]                                        RANK:DEVICE of this server's cards
    rank_table.py size FILE                                                          how many cards all servers have

Addresses of cards come from --hccn (default /etc/hccn.conf) or, where that lacks them, from `hccn_tool`.
Format: HCCL user guide, "rank table configuration", Atlas A2 and Atlas training series.
"""
import argparse
import ipaddress
import json
import os
import re
import socket
import subprocess
import sys
from typing import Any, Dict, List, Optional, Sequence

import hosts
import npu
from outside import brief, output_of, printable, read_text, write_text

HCCN = "/etc/hccn.conf"
#: Cards of a table, and characters of a value in it, beyond which it is no table.
MOST, LONGEST = 65536, 300
#: Sentences on a table that are printed.
SAID = 8
#: On the first series the cards of a server form two rings of four.
RINGS = ({0, 1, 2, 3}, {4, 5, 6, 7})


def addresses_in(text: str) -> Dict[int, str]:
    """Address of each card in the text of an hccn.conf; what is no address there is left out."""
    rows = re.findall(r"^[ \t]*address_([0-9]{1,4})[ \t]*=[ \t]*(\S{1,60})(?:\s|$)", text, re.M)
    return {int(card): address for card, address in rows if _is_address(address)}


def address_by_tool(device: int) -> str:
    """Address of a card by hccn_tool; ValueError where it has none."""
    remedy = f"set one with `hccn_tool -i {device} -ip -s address A netmask M`"
    try:
        said = output_of(["hccn_tool", "-i", str(device), "-ip", "-g"], 60).stdout
    except FileNotFoundError:
        raise ValueError(f"card {device} has no address in {HCCN}, and there is no hccn_tool on PATH (it comes with "
                         "the driver)") from None
    except subprocess.TimeoutExpired:
        raise ValueError(f"hccn_tool did not say card {device}'s address within 60 s: the driver hangs; restart the "
                         "server") from None
    match = re.search(r"ipaddr[ \t]*:[ \t]*(\S{1,60})", said)
    if not match or not _is_address(match.group(1)):
        raise ValueError(f"card {device} has no address; {remedy}")
    return match.group(1)


def server_address() -> str:
    """The address of this server in its own network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: connecting a datagram socket only asks the routing table.
            probe.connect(("192.0.2.1", 9))
            return probe.getsockname()[0]
        except OSError:
            raise ValueError("this server's address is not known; give it with --server-ip") from None


def make(server: str, devices: Optional[Sequence[int]], hccn: str) -> Dict[str, Any]:
    """The table of one server.

    Args:
        server: its address.
        devices: cards, or None for all that hccn.conf names.
        hccn: path of hccn.conf.
    """
    known = addresses_in(read_text(hccn)) if os.path.isfile(hccn) else {}
    if devices is None:
        if not known:
            raise ValueError(f"'{printable(hccn)}' names no card with an address; say which with --devices")
        devices = sorted(known)
    cards = [{"device_id": str(device), "device_ip": known.get(device) or address_by_tool(device), "rank_id": str(rank)}
             for rank, device in enumerate(devices)]
    return _table([{"server_id": server, "device": cards, "host_nic_ip": "reserve"}])


def _table(servers: List[Dict[str, Any]]) -> Dict[str, Any]:
    return {"version": "1.0", "server_count": str(len(servers)), "server_list": servers, "status": "completed"}


def merge(tables: Sequence[Dict[str, Any]]) -> Dict[str, Any]:
    """One table of all servers, in lexical order of their ids as HCCL wants it, ranks counted anew."""
    servers = sorted((server for table in tables for server in table["server_list"]),
                     key=lambda server: str(server.get("server_id")))
    rank = 0
    for server in servers:
        for card in server["device"]:
            card["rank_id"], rank = str(rank), rank + 1
    return _table(servers)


def read(path: str) -> Dict[str, Any]:
    """A table from its file; FileNotFoundError or ValueError where it is none."""
    try:
        # A number of a million digits would take minutes to become one.
        table = json.loads(read_text(path), parse_int=lambda digits: int(digits) if len(digits) < 20 else digits)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no rank table '{printable(path)}'; `python ascend/rank_table.py make` "
                                "writes one") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"'{printable(path)}' is not JSON: {brief(error, 100)}") from None
    wrong = malformed(table)
    if wrong:
        raise ValueError(f"'{printable(path)}' is no rank table of version 1.0: {wrong}")
    return table


def malformed(table: Any) -> Optional[str]:
    """What keeps something from being a table at all, or None: its parts, and the kinds of them."""
    if not isinstance(table, dict) or not isinstance(table.get("server_list"), list):
        return "it has no server_list"
    cards: List[Any] = []
    for server in table["server_list"]:
        if not isinstance(server, dict) or not isinstance(server.get("device"), list):
            return "an entry of server_list is no server with a list of its devices"
        cards += server["device"]
    if len(cards) > MOST:
        return f"it has more than {MOST} cards"
    if not all(isinstance(card, dict) for card in cards):
        return "an entry of device is no card"
    named = [server.get("server_id") for server in table["server_list"]]
    named += [card.get(name) for card in cards for name in ("device_id", "device_ip", "rank_id")]
    strange = next((value for value in named if not isinstance(value, (str, int, type(None))) or
                    isinstance(value, bool) or len(str(value)) > LONGEST), None)
    return f"{brief(repr(strange))} is neither a number nor an address" if strange is not None else None


def problems(table: Dict[str, Any], size: Optional[int] = None, first_series: bool = False) -> List[str]:
    """Sentences on everything that HCCL would refuse.

    Args:
        size: number of cards that the job asks for.
        first_series: whether the servers hold the first Ascend 910.
    """
    found = []
    servers = table["server_list"]
    if table.get("version") != "1.0":
        found.append(f"version is {brief(repr(table.get('version')))}, not '1.0'")
    if table.get("status") != "completed":
        found.append(f"status is {brief(repr(table.get('status')))}, not 'completed'")
    if str(table.get("server_count")) != str(len(servers)):
        found.append(f"server_count is {brief(repr(table.get('server_count')))}, but {len(servers)} servers are "
                     "listed")
    names = [str(server.get("server_id", "")) for server in servers]
    found += [f"server {brief(name)} is listed twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if names != sorted(names):
        found.append("servers are not in lexical order of server_id; `rank_table.py merge` sorts them")
    for server in servers:
        found += _problems_of_server(server, first_series)
    cards = [card for server in servers for card in server.get("device", [])]
    return found + _problems_of_cards(cards, size)


def _twice(values: Sequence[str]) -> List[str]:
    seen, twice = set(), set()
    for value in values:
        (twice if value in seen else seen).add(value)
    return sorted(twice)


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"0|[1-9][0-9]{0,5}", text))


def _problems_of_server(server: Dict[str, Any], first_series: bool) -> List[str]:
    name = brief(server.get("server_id", "?"))
    ids = [str(card.get("device_id")) for card in server.get("device", [])]
    found = [f"server {name}: device_id '{brief(i)}' is no number" for i in ids if not _is_number(i)]
    found += [f"server {name}: device_id {brief(i)} is listed twice" for i in _twice(ids)]
    if not ids:
        found.append(f"server {name} has no device")
    if not _is_address(server.get("server_id")):
        found.append(f"server_id '{name}' is no address")
    cards = {int(i) for i in ids if _is_number(i)}
    if first_series and len(cards) > 1 and cards not in (*RINGS, RINGS[0] | RINGS[1]):
        found.append(f"server {name}: the first Ascend 910 trains on cards 0-3, 4-7, all eight, or one, not on "
                     f"{','.join(map(str, sorted(cards)))}")
    return found


def _problems_of_cards(cards: List[Dict[str, Any]], size: Optional[int]) -> List[str]:
    found = [f"device_ip '{brief(card.get('device_ip'))}' is no address" for card in cards
             if not _is_address(card.get("device_ip"))]
    found += [f"device_ip {a} is used twice"
              for a in _twice([card["device_ip"] for card in cards if _is_address(card.get("device_ip"))])]
    ranks = [str(card.get("rank_id")) for card in cards]
    found += [f"rank_id '{brief(rank)}' is no number" for rank in ranks if not _is_number(rank)]
    found += [f"rank_id {brief(rank)} is used twice" for rank in _twice(ranks)]
    missing = sorted(set(range(len(ranks))) - {int(rank) for rank in ranks if _is_number(rank)})
    if missing and len(set(ranks)) == len(ranks):
        found.append(f"ranks have a gap: {missing[0]} is missing")
    if size is not None and len(cards) != size:
        found.append(f"the table has {len(cards)} cards, but {size} are asked for")
    return found


def _is_address(text: Any) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return isinstance(text, str) and "%" not in text


def local(table: Dict[str, Any], server: str) -> List[str]:
    """'RANK:DEVICE' of each card of a server, in the order of ranks.

    Raises:
        ValueError: the server is not in the table, or its ranks do not follow each other with its cards, which a
            launcher that watches ranks FIRST to LAST needs.
    """
    for entry in table["server_list"]:
        if entry.get("server_id") == server:
            pairs = sorted((int(card["rank_id"]), int(card["device_id"])) for card in entry["device"])
            ranks, devices = zip(*pairs)
            if ranks != tuple(range(ranks[0], ranks[0] + len(ranks))) or list(devices) != sorted(devices):
                raise ValueError(f"the ranks of server {server} do not follow each other with its cards; "
                                 "`rank_table.py merge` counts them anew")
            return [f"{rank}:{device}" for rank, device in pairs]
    names = brief(", ".join(str(entry.get("server_id")) for entry in table["server_list"]), 200)
    raise ValueError(f"server {brief(server)} is not in the rank table (it has {names}); name this one with "
                     "--server-ip")


def _cards(table: Dict[str, Any]) -> int:
    return sum(len(server["device"]) for server in table["server_list"])


def _write(table: Dict[str, Any], path: Optional[str]) -> None:
    text = json.dumps(table, indent=2) + "\n"
    if path is None:
        sys.stdout.write(text)
        return
    write_text(path, text)
    print(f"{printable(path)}: {_cards(table)} cards of {table['server_count']} servers")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("rank_table.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["make", "merge", "check", "local", "size"])
    parser.add_argument("files", nargs="*", help="rank tables")
    parser.add_argument("--server-ip", help="address of this server (default: found by its routes)")
    parser.add_argument("--devices", help="cards, such as 0,1,4 (default: all in hccn.conf)")
    parser.add_argument("--hccn", default=HCCN, help=f"file with the cards' addresses (default {HCCN})")
    parser.add_argument("--size", type=int, help="cards that the job asks for")
    parser.add_argument("--first-series", action="store_true", help="the servers hold the first Ascend 910")
    parser.add_argument("-o", "--output", help="file to write (default: the screen)")
    return parser


def run(options: argparse.Namespace) -> None:
    """Carry out one command; OSError or ValueError with a sentence where it cannot."""
    if options.command == "make":
        devices = npu.parse_devices(options.devices) if options.devices else None
        table = make(hosts.address(options.server_ip or server_address()), devices, options.hccn)
    else:
        tables = [read(path) for path in options.files]
        if not tables or (len(tables) > 1 and options.command != "merge"):
            wanted = "rank tables" if options.command == "merge" else "one rank table"
            raise ValueError(f"'{options.command}' takes {wanted}")
        table = merge(tables) if options.command == "merge" else tables[0]
    found = problems(table, options.size, options.first_series)
    if found:
        more = f"; and {len(found) - SAID} more" if len(found) > SAID else ""
        verb = "would not be" if options.command in ("make", "merge") else "is not"
        raise ValueError(f"the rank table {verb} right: {'; '.join(found[:SAID])}{more}")
    if options.command == "local":
        print(*local(table, options.server_ip or server_address()))
    elif options.command == "size":
        print(_cards(table))
    elif options.command == "check":
        print(f"{printable(options.files[0])}: right; {_cards(table)} cards of {table['server_count']} servers")
    else:
        _write(table, options.output)


def main(argv: Optional[Sequence[str]] = None) -> int:
    """The commands of the docstring."""
    try:
        run(_parser().parse_args(argv))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
