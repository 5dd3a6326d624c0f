"""Names to components: lazy, suggesting, refusing collisions; options from signatures."""

import pytest

from mindformers.catalog import REGISTRY
from mindformers.errors import UnknownNameError, UsageError
from mindformers.registry import Entry, MindFormerModuleType, Registry, register_folder, signature_options
from mindformers.tools.register import MindFormerRegister


@pytest.fixture
def registry():
    made = Registry()
    made.add("callback", "Monitor", Entry("os.path:join", aliases=("OldMonitor",)))
    return made


def test_an_alias_leads_to_the_canonical_name(registry):
    assert registry.canonical("callback", "OldMonitor") == "Monitor"


def test_an_unknown_name_suggests_the_nearest(registry):
    with pytest.raises(UnknownNameError, match="unknown callback 'Moniter'. Did you mean 'Monitor'"):
        registry.resolve("callback", "Moniter")


def test_a_taken_name_or_alias_is_refused(registry):
    for name in ("Monitor", "OldMonitor"):
        with pytest.raises(UsageError, match=f"'{name}' is registered already"):
            registry.add("callback", name, Entry("a:b"))


def test_a_name_belongs_to_one_module_type(registry):
    registry.add("optimizer", "Monitor", Entry("os:getcwd"))
    assert registry.names("optimizer") == ["Monitor"]


def test_an_unknown_module_type_is_refused(registry):
    with pytest.raises(UnknownNameError, match="module type"):
        registry.add("callbak", "X", Entry("a:b"))


def test_a_component_is_imported_when_it_is_used(registry):
    import os

    assert registry.resolve("callback", "Monitor") is os.path.join


def test_a_known_component_without_code_says_so(registry):
    registry.add("metric", "Later", Entry(None))
    with pytest.raises(UsageError, match="cannot run it yet"):
        registry.resolve("metric", "Later")


def test_options_of_a_user_class_come_from_its_signature():
    class Mine:
        def __init__(self, config, width: int, rate: float = 0.5, name=None):
            pass

    options = signature_options(Mine, "Mine", supplied=("config",))
    made = options(width=3)
    assert (made.width, made.rate, made.name) == (3, 0.5, None)
    with pytest.raises(TypeError):
        options()


def test_the_facade_registers_finds_and_builds():
    @MindFormerRegister.register(MindFormerModuleType.TOOLS, alias="facade_alias")
    class FacadeTool:
        def __init__(self, size=1):
            self.size = size

    assert MindFormerRegister.is_exist("tools", "FacadeTool")
    assert MindFormerRegister.get_cls("tools", "facade_alias") is FacadeTool
    built = MindFormerRegister.get_instance_from_cfg({"type": "FacadeTool", "size": 4}, "tools", {"size": 2})
    assert built.size == 4
    assert MindFormerRegister.get_instance("tools", "FacadeTool").size == 1
    with pytest.raises(UsageError, match="needs the key 'type'"):
        MindFormerRegister.get_instance_from_cfg({"size": 1}, "tools")


def test_a_users_folder_is_loaded_once_and_a_broken_file_is_named(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from mindformers import MindFormerRegister\n"
        "@MindFormerRegister.register('tools')\nclass FromFolder:\n    pass\n"
    )
    assert len(register_folder(tmp_path)) == 1
    register_folder(tmp_path)
    assert "FromFolder" in REGISTRY.names("tools")
    (tmp_path / "zbroken.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(UsageError, match=r"zbroken.py cannot be imported: ModuleNotFoundError"):
        register_folder(tmp_path)
    with pytest.raises(UsageError, match="no folder with Python files"):
        register_folder(tmp_path / "nowhere")
