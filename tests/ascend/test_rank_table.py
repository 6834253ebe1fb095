"""Writing, merging and checking rank tables."""
import copy
import json

import pytest
import rank_table

HCCN = "\n".join(f"address_{i}=192.168.{100 + i % 4}.{101 + i // 4}\nnetmask_{i}=255.255.255.0" for i in range(8))


@pytest.fixture
def hccn(tmp_path):
    path = tmp_path / "hccn.conf"
    path.write_text(HCCN + "\n")
    return str(path)


def _table(server="10.0.0.1", devices=(0, 1), start=0):
    cards = [{"device_id": str(d), "device_ip": f"192.168.{server[-1]}.{d + 1}", "rank_id": str(start + i)}
             for i, d in enumerate(devices)]
    return rank_table._table([{"server_id": server, "device": cards, "host_nic_ip": "reserve"}])


def test_a_server_with_all_its_cards(hccn, tmp_path, capsys):
    path = tmp_path / "table.json"
    assert rank_table.main(["make", "--server-ip", "10.0.0.1", "--hccn", hccn, "-o", str(path)]) == 0
    assert "8 cards of 1 servers" in capsys.readouterr().out
    table = json.loads(path.read_text())
    assert table["version"] == "1.0" and table["status"] == "completed" and table["server_count"] == "1"
    assert table["server_list"][0]["server_id"] == "10.0.0.1"
    assert table["server_list"][0]["device"][5] == {"device_id": "5", "device_ip": "192.168.101.102", "rank_id": "5"}


def test_some_cards_get_ranks_from_0(hccn, capsys):
    assert rank_table.main(["make", "--server-ip", "10.0.0.1", "--hccn", hccn, "--devices", "4,6"]) == 0
    cards = json.loads(capsys.readouterr().out)["server_list"][0]["device"]
    assert [(card["device_id"], card["rank_id"]) for card in cards] == [("4", "0"), ("6", "1")]


def test_addresses_come_from_hccn_tool_where_the_file_lacks_them(tool, monkeypatch, capsys):
    tools = tool("hccn_tool", "echo ipaddr:192.168.9.$2; echo netmask:255.255.255.0")
    monkeypatch.setenv("PATH", f"{tools}:/bin")
    assert rank_table.main(["make", "--server-ip", "10.0.0.1", "--hccn", "/nowhere", "--devices", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["server_list"][0]["device"][0]["device_ip"] == "192.168.9.3"
    tool("hccn_tool", "echo cmd fail")
    assert rank_table.main(["make", "--server-ip", "10.0.0.1", "--hccn", "/nowhere", "--devices", "3"]) == 1
    assert "card 3 has no address; set one with `hccn_tool -i 3 -ip -s" in capsys.readouterr().err


def test_merging_sorts_servers_as_text_and_counts_ranks_anew(tmp_path, capsys):
    for name, server in (("a", "10.0.0.9"), ("b", "10.0.0.10")):
        (tmp_path / name).write_text(json.dumps(_table(server)))
    assert rank_table.main(["merge", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    servers = json.loads(capsys.readouterr().out)["server_list"]
    assert [server["server_id"] for server in servers] == ["10.0.0.10", "10.0.0.9"]
    assert [card["rank_id"] for server in servers for card in server["device"]] == ["0", "1", "2", "3"]


def _two():
    table = rank_table.merge([_table("10.0.0.1"), _table("10.0.0.2")])
    assert not rank_table.problems(table, size=4)
    return table


def _cards(table):
    return [card for server in table["server_list"] for card in server["device"]]


@pytest.mark.parametrize("spoil, words", [
    (lambda t: t.update(version="1.2"), "version is '1.2'"),
    (lambda t: t.update(status="initializing"), "status is 'initializing'"),
    (lambda t: t.update(server_count="3"), "server_count is '3', but 2 servers"),
    (lambda t: t["server_list"].reverse(), "not in lexical order"),
    (lambda t: t["server_list"][1].update(server_id="10.0.0.1"), "server 10.0.0.1 is listed twice"),
    (lambda t: t["server_list"][1].update(server_id="node1"), "server_id 'node1' is no address"),
    (lambda t: _cards(t)[1].update(device_id="0"), "device_id 0 is listed twice"),
    (lambda t: _cards(t)[1].update(device_id="x"), "device_id 'x' is no number"),
    (lambda t: _cards(t)[2].update(device_ip=_cards(t)[0]["device_ip"]), "device_ip 192.168.1.1 is used twice"),
    (lambda t: _cards(t)[2].update(device_ip="-.-.-.-"), "device_ip '-.-.-.-' is no address"),
    (lambda t: _cards(t)[3].update(rank_id="2"), "rank_id 2 is used twice"),
    (lambda t: _cards(t)[3].update(rank_id="4"), "ranks have a gap: 3 is missing"),
    (lambda t: t["server_list"][1].update(device=[]), "server 10.0.0.2 has no device"),
])
def test_what_is_wrong_with_a_table_is_named(spoil, words):
    table = copy.deepcopy(_two())
    spoil(table)
    assert any(words in said for said in rank_table.problems(table))


def test_the_number_of_cards_is_compared():
    assert rank_table.problems(_two(), size=8) == ["the table has 4 cards, but 8 are asked for"]


@pytest.mark.parametrize("devices, right", [((0,), True), ((0, 1), False), ((0, 1, 2, 3), True), ((4, 5, 6, 7), True),
                                            ((2, 3, 4, 5), False), (tuple(range(8)), True)])
def test_rings_of_the_first_series(devices, right):
    assert (not rank_table.problems(_table(devices=devices), first_series=True)) is right
    assert not rank_table.problems(_table(devices=devices))


def test_ranks_of_a_server(tmp_path, capsys):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(_two()))
    assert rank_table.main(["local", str(path), "--server-ip", "10.0.0.2"]) == 0
    assert capsys.readouterr().out == "2:0 3:1\n"
    assert rank_table.main(["local", str(path), "--server-ip", "10.0.0.7"]) == 1
    assert "server 10.0.0.7 is not in the rank table (it has 10.0.0.1, 10.0.0.2)" in capsys.readouterr().err


@pytest.mark.parametrize("content, words", [(None, "there is no rank table"), ("{", "is not JSON"),
                                            ("[]", "is no rank table")])
def test_a_file_that_is_no_table(content, words, tmp_path, capsys):
    path = tmp_path / "t.json"
    if content is not None:
        path.write_text(content)
    assert rank_table.main(["check", str(path)]) == 1
    assert words in capsys.readouterr().err
