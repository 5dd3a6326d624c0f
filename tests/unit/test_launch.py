"""Which processes a job gets, with which environment; what does not fit together is refused before any starts."""

import dataclasses
import errno
import socket

import pytest

from mindformers import cli
from mindformers.config.check import check_file
from mindformers.errors import UsageError
from mindformers.parallel import launch, launch_processes
from mindformers.parallel.launch import Wanted, processes
from mindformers.parallel.rank_table import Device, Server, table_text
from tests.conftest import CONFIGS
from tests.unit.test_rank_table import GUIDE

LOCAL = [Server("127.0.0.1", (Device(0, "127.0.0.1", 0), Device(1, "127.0.0.2", 1)))]


@pytest.fixture(scope="module")
def tiny():
    """A run that lays nothing out."""
    return check_file(CONFIGS / "qa" / "run_qa_bert_tiny.yaml").run


@pytest.fixture(scope="module")
def large():
    """A run of 4 x 2 x 4 devices."""
    return check_file(CONFIGS / "gpt2" / "run_gpt2_13b.yaml").run


@pytest.fixture
def table(tmp_path):
    """Return what writes a table and returns its place."""

    def write(servers):
        (tmp_path / "table.json").write_text(table_text(servers))
        return str(tmp_path / "table.json")

    return write


def started(run, wanted):
    return processes(run, "job.yaml", ["job.yaml", "--epochs", "3"], wanted)


def ranks_and_devices(found):
    return [(item.environment["RANK_ID"], item.environment["DEVICE_ID"], item.folder) for item in found]


def on(run, target):
    return dataclasses.replace(run, context=dataclasses.replace(run.context, device_target=target))


def test_local_ranks_meet_at_a_scheduler_on_a_free_port(tiny):
    scheduler, first, second = started(tiny, Wanted(ranks=2))
    assert scheduler.environment["MS_ROLE"] == "MS_SCHED"
    assert first.command[:3] == ("-m", "mindformers.cli", "run")
    assert first.command[-4:] == ("job.yaml", "--epochs", "3", "--use_parallel=True")
    port = first.environment["MS_SCHED_PORT"]
    assert int(port) >= 1024
    assert second.environment == {
        "RANK_SIZE": "2",
        "MS_WORKER_NUM": "2",
        "MS_SCHED_HOST": "127.0.0.1",
        "MS_SCHED_PORT": port,
        "MS_TOPO_TIMEOUT": "600",
        "RANK_ID": "1",
        "DEVICE_ID": "1",
        "MS_ROLE": "MS_WORKER",
        "MS_NODE_ID": "1",
    }


def test_the_command_keeps_its_own_flags_and_hands_on_the_rest(monkeypatch):
    made = []
    monkeypatch.setattr(launch_processes, "launch", lambda found, logs: made.extend([found, logs]) or 7)
    config = str(CONFIGS / "qa" / "run_qa_bert_tiny.yaml")
    own = ["--ranks", "1", "--log_dir=logs", "--scheduler", "127.0.0.1:8399"]
    rest = ["--epochs", "3", "--optimizer.eps=1e-6", "--options", "seed=1"]
    assert cli.main(["launch", *own[:2], config, *rest[:3], *own[2:], *rest[3:]]) == 7
    (_, rank), logs = made
    assert rank.command[2:] == ("run", config, *rest, "--use_parallel=True")
    assert (str(logs), rank.environment["MS_SCHED_PORT"]) == ("logs", "8399")


def test_several_machines_share_the_ranks_and_the_first_schedules(tiny):
    found = started(tiny, Wanted(ranks=4, nodes=2, node_rank=1, scheduler="127.0.0.1:8200"))
    assert ranks_and_devices(found) == [("2", "0", "mf_parallel2"), ("3", "1", "mf_parallel3")]
    assert {item.environment["MS_SCHED_PORT"] for item in found} == {"8200"}


def test_a_range_alone_counts_ranks_from_its_first_device(tiny, table):
    path = table([Server("127.0.0.1", tuple(Device(4 + i, f"127.0.0.{i + 1}", i) for i in range(4)))])
    found = started(tiny, Wanted(rank_table=path, device_range="[4,8]"))[1:]
    assert ranks_and_devices(found)[1] == ("1", "5", "mf_parallel5")
    assert len(found) == 4


def test_a_range_with_a_size_counts_ranks_and_every_machine_has_devices_from_0(large, table):
    path = table(GUIDE)
    found = started(on(large, "Ascend"), Wanted(ranks=32, rank_table=path, device_range="[8,16]"))
    assert ranks_and_devices(found)[:2] == [("8", "0", "mf_parallel8"), ("9", "1", "mf_parallel9")]
    assert len(found) == 8
    assert found[1].environment == {"RANK_SIZE": "32", "RANK_TABLE_FILE": path, "RANK_ID": "9", "DEVICE_ID": "1"}
    assert found[1].command[-1] == "--device_id=1"


def test_a_machine_finds_its_ranks_in_the_table_by_its_address(tiny, table):
    path = table([Server("192.0.2.7", (Device(0, "192.0.2.8", 0),)), Server("127.0.0.1", (Device(0, "127.0.0.9", 1),))])
    (only,) = started(tiny, Wanted(rank_table=path))
    assert ranks_and_devices([only]) == [("1", "0", "mf_parallel1")]
    assert (only.environment["MS_SCHED_HOST"], only.environment["MS_SCHED_PORT"]) == ("192.0.2.7", "18118")


@pytest.mark.parametrize(
    ("servers", "wanted", "said"),
    [
        (LOCAL, {"device_range": "[0,2]", "ranks": 4}, "has 2 devices, and the job 4 ranks"),
        (GUIDE, {"device_range": "[0,8]"}, "has 32 devices, and the job 8 ranks"),
        (GUIDE, {"device_range": "[32,34]", "ranks": 32}, "has 32 devices and no rank 32"),
        (GUIDE, {"device_range": "[4,12]", "ranks": 32}, "gives rank 4 the device 0, and .* the device 4 of 10.155"),
        (LOCAL, {"device_range": "[1,3]"}, "gives rank 0 the device 1"),
        (GUIDE, {}, "none of 10.155.111.140, .* is an address of this machine"),
        (LOCAL, {"nodes": 2}, "a rank table says which machines"),
    ],
)
def test_what_does_not_fit_a_table_is_refused(tiny, table, servers, wanted, said):
    with pytest.raises(UsageError, match=said):
        started(tiny, Wanted(rank_table=table(servers), **wanted))


def test_a_range_over_two_machines_is_refused(tiny, table):
    path = table([Server(f"127.0.0.{i}", (Device(i - 1, f"127.0.0.{i}", i - 1),)) for i in (1, 2)])
    with pytest.raises(UsageError, match="takes devices of the servers 127.0.0.1, 127.0.0.2"):
        started(tiny, Wanted(rank_table=path, device_range="[0,2]"))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({}, "--ranks is missing"),
        ({"ranks": 0}, "--ranks is 0"),
        ({"ranks": 2, "device_range": "[0,2]"}, "give --rank_table"),
        ({"ranks": 3, "nodes": 2, "node_rank": 0, "scheduler": "a"}, "--nodes 2 does not divide --ranks 3"),
        ({"ranks": 2, "nodes": 2}, "needs --scheduler HOST"),
        ({"ranks": 2, "nodes": 2, "node_rank": 2, "scheduler": "a"}, "--node_rank is 2; accepted: 0 to 1"),
        ({"ranks": 2, "scheduler": "127.0.0.1:80"}, "write HOST or HOST:PORT"),
        ({"rank_table": ""}, "is the variable that should name the file unset?"),
        ({"ranks": 1, "scheduler": "192.0.2.1:8300"}, "port 8300 of 192.0.2.1 cannot be listened at: .*is this it?"),
    ],
)
def test_flags_that_do_not_fit_together_are_refused(tiny, wanted, said):
    with pytest.raises(UsageError, match=said):
        started(tiny, Wanted(**wanted))


def test_the_number_of_ranks_must_be_that_of_the_layout(large):
    with pytest.raises(UsageError, match=r"RANK_SIZE \(--ranks\) is 8, but job.yaml lays a job out on 32 devices"):
        started(large, Wanted(ranks=8))


def test_a_port_in_use_is_named(tiny):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} of 127.0.0.1 is in use"):
            started(tiny, Wanted(ranks=2, scheduler=f"127.0.0.1:{port}"))


def test_a_host_that_does_not_resolve_is_named(tiny, monkeypatch):
    def unknown(host):
        raise socket.gaierror(errno.ENOENT, "Name or service not known")

    monkeypatch.setattr(launch.socket, "gethostbyname", unknown)
    with pytest.raises(UsageError, match="'node-a' of the scheduler does not resolve: Name or service not known"):
        started(tiny, Wanted(ranks=2, nodes=2, node_rank=1, scheduler="node-a"))
