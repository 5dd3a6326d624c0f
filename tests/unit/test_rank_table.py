"""Rank tables: read, refused with the line, written and joined as the published tools do."""

import dataclasses
import json
import sys

import pytest

from mindformers.errors import ConfigError, UsageError
from mindformers.parallel.rank_table import Device, Server, device_range, read_rank_table, table_text
from mindformers.tools import hccl_tools, merge_hccl

GUIDE = [
    Server(
        f"10.155.111.{140 + server}",
        tuple(
            Device(number, f"192.{number % 4 + 1}.27.{6 + 2 * server + number // 4}", 8 * server + number)
            for number in range(8)
        ),
    )
    for server in range(4)
]
"""The example of r0.3's guide: 4 servers of 8 devices."""


@pytest.fixture
def guide(tmp_path):
    path = tmp_path / "guide.json"
    path.write_text(table_text(GUIDE))
    return path


def test_the_example_of_the_guide_is_read(guide):
    table = read_rank_table(guide)
    assert list(table.servers) == GUIDE
    assert table.num_ranks == 32
    assert table.find(27) == (GUIDE[3], Device(3, "192.4.27.12", 27))


def test_a_table_has_the_published_keys_all_of_them_text(guide):
    content = json.loads(guide.read_text())
    assert {**content, "server_list": None} == {
        "version": "1.0",
        "server_count": "4",
        "server_list": None,
        "status": "completed",
    }
    assert content["server_list"][1]["server_id"] == "10.155.111.141"
    assert content["server_list"][1]["host_nic_ip"] == "reserve"
    assert content["server_list"][1]["device"][5] == {"device_id": "5", "device_ip": "192.2.27.9", "rank_id": "13"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"rank_id": "9"', '"rank_id": "8"', r":62: server_list\[1\].device\[1\].rank_id: rank 8 stands twice; .*:57"),
        ('"rank_id": "9"', '"rank_id": "32"', "no device has rank 9; ranks run from 0 to 31"),
        ('"server_count": "4"', '"server_count": "5"', "table.json:3: server_count: is 5, but server_list has 4"),
        (
            '"device_id": "1",\n                    "device_ip": "192.2.27.8"',
            '"device_id": "0",\n                    "device_ip": "192.2.27.8"',
            "device 0 of 10.155.111.141 stands twice",
        ),
        ("192.2.27.8", "192.2.27.888", r":61: .*device_ip: '192.2.27.888' is no IP address"),
        ("192.2.27.8", "192.1.27.8", "address 192.1.27.8 stands twice"),
        ("10.155.111.141", "10.155.111.140", "server 10.155.111.140 stands twice"),
        ('"rank_id": "9"', '"rank_id": 9', "is 9; it must be text in quotes"),
        ('"rank_id": "9"', '"rank_id": "nine"', "is 'nine'; it must be a number in quotes"),
        ('"rank_id": "9"', '"rank": "9"', r"device\[1\].rank_id: is missing"),
        ('"completed"', '"initializing"', "status: is 'initializing'"),
        ('"rank_id": "9"', '"rank_id": "9",', r"table.json:6[23]: not valid JSON"),
        ('"server_list"', '"servers"', "server_list: is missing or empty"),
    ],
)
def test_a_bad_table_is_refused_with_its_line(guide, tmp_path, old, new, said):
    text = guide.read_text()
    assert old in text
    (tmp_path / "table.json").write_text(text.replace(old, new, 1).replace("    ", "\t"))
    with pytest.raises(ConfigError, match=said):
        read_rank_table(tmp_path / "table.json")


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"table.json: the rank table cannot be read: No such file"):
        read_rank_table(tmp_path / "table.json")


@pytest.mark.parametrize("text", ["[0,8]", "[0,8)", " [ 0 , 8 ] "])
def test_a_range_leaves_its_end_out(text):
    assert device_range(text, "DEVICE_RANGE") == range(8)


@pytest.mark.parametrize("text", ["0,8", "[8,0]", "[0-8]", ""])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(UsageError, match=r"DEVICE_RANGE is '.*'; write \[a,b\]"):
        device_range(text, "DEVICE_RANGE")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with eight devices as its driver's file names them."""
    lines = [f"address_{number}=192.{number % 4 + 1}.27.{6 + number // 4}" for number in range(8)]
    (tmp_path / "hccn.conf").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(hccl_tools, "CONFIGURED", tmp_path / "hccn.conf")
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_tables_of_four_machines_make_the_example_of_the_guide(machine, capsys):
    for server in GUIDE:
        lines = [f"address_{device.device_id}={device.device_ip}" for device in server.devices]
        (machine / "hccn.conf").write_text("\n".join(lines))
        assert hccl_tools.main(["--device_num", "[0,8)", "--server_ip", server.server_id]) == 0
    files = [f"hccl_8p_01234567_{server.server_id}.json" for server in GUIDE]
    assert merge_hccl.main(files) == 0
    assert str(machine / "hccl_4s_32p.json") in capsys.readouterr().out
    assert list(read_rank_table(machine / "hccl_4s_32p.json").servers) == GUIDE
    assert merge_hccl.main([files[0], files[0]]) == 2
    assert "10.155.111.140 stands in" in capsys.readouterr().err


def test_visible_devices_are_the_numbers_on_the_board(machine):
    assert hccl_tools.main(["--device_num=[0,2)", "--visible_devices=6,7", "--server_ip=10.0.0.1"]) == 0
    (server,) = read_rank_table(machine / "hccl_2p_01_10.0.0.1.json").servers
    assert server.devices == (Device(6, "192.3.27.7", 0), Device(7, "192.4.27.7", 1))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--device_num=[3,6)"], "devices of both groups of four"),
        (["--device_num=[0,4)", "--visible_devices=0,1"], "needs 4 numbers in --visible_devices"),
        (["--device_num=0-8"], "write [a,b]"),
        (["--device_num=[0,4)", "--visible_devices=0,1,2,9"], "no address of device 9"),
    ],
)
def test_what_a_machine_does_not_have_is_one_message(machine, capsys, flags, said):
    assert hccl_tools.main([*flags, "--server_ip=10.0.0.1"]) == 2
    assert said in capsys.readouterr().err
    assert not list(machine.glob("*.json"))


def test_the_tool_of_the_driver_is_asked_first(machine, monkeypatch):
    tool = machine / "hccn_tool"
    tool.write_text(
        f"#!{sys.executable}\nimport sys\nprint('ipaddr:10.1.1.' + sys.argv[2])\nprint('netmask:255.0.0.0')\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(machine))
    assert hccl_tools.this_server("[0,1)", "5", "10.0.0.1").devices == (Device(5, "10.1.1.5", 0),)


def test_ranks_are_counted_anew_in_the_order_of_the_files(tmp_path):
    for name, server in (("a", GUIDE[1]), ("b", GUIDE[0])):
        own = dataclasses.replace(
            server, devices=tuple(dataclasses.replace(item, rank=item.device_id) for item in server.devices)
        )
        (tmp_path / name).write_text(table_text([own]))
    first, second = merge_hccl.joined([str(tmp_path / "a"), str(tmp_path / "b")])
    assert (first.server_id, [item.rank for item in second.devices]) == (GUIDE[1].server_id, list(range(8, 16)))
