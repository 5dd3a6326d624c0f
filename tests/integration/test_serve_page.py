"""The chat page in a real browser: typing, streaming, stopping, beginning anew, and text that looks like markup."""

import json
import shutil

import pytest

from tests.unit.tiny_speaker import write_speaker

for package in ("fastapi", "uvicorn", "selenium"):
    pytest.importorskip(package, reason="needs: pip install 'mindformers[test]'")
if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
    pytest.skip("needs the Debian packages chromium and chromium-driver", allow_module_level=True)

from selenium import webdriver  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from tests.integration.running_server import KEY, running_server, until  # noqa: E402

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = write_speaker(tmp_path_factory.mktemp("page") / "tiny")
    likeliest = {"do_sample": True, "temperature": 1e-4}
    (folder / "generation_config.json").write_text(json.dumps(likeliest))
    with running_server(folder, always=6) as running:
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def page(server, browser):
    """The page after the key was typed in."""
    browser.get(server.url)
    key = browser.find_element(By.ID, "key")
    until(key.is_displayed)
    key.send_keys(KEY, Keys.ENTER)
    until(lambda: browser.find_element(By.ID, "model").text == "tiny" and not texts(browser, "error"))
    return browser


def ask(page, text):
    page.find_element(By.ID, "question").send_keys(text, Keys.ENTER)


def texts(page, kind):
    return [turn.get_property("textContent") for turn in page.find_elements(By.CSS_SELECTOR, f".{kind}")]


def is_idle(page):
    return page.find_element(By.ID, "send").is_displayed()


def test_a_page_without_a_key_asks_for_it(server, browser):
    browser.get(server.url)
    until(browser.find_element(By.ID, "key").is_displayed)
    assert "the API key is missing or wrong" in until(lambda: texts(browser, "error"))[0]


def test_an_answer_is_streamed_into_the_page(page, server):
    server.gate.is_open.clear()
    ask(page, "dog")
    until(lambda: texts(page, "writing") not in ([], [""]))
    first = texts(page, "writing")[0]
    assert page.find_element(By.ID, "stop").is_displayed() and not is_idle(page)
    server.gate.is_open.set()
    until(lambda: is_idle(page))
    row = server.gate.batches[-1][0]
    assert texts(page, "user") == ["dog"] and texts(page, "assistant") == [row.pieces.text]
    assert texts(page, "assistant")[0].startswith(first) and texts(page, "writing") == []


def test_an_answer_can_be_stopped_and_what_was_written_stays(page, server):
    server.gate.is_open.clear()
    ask(page, "dog")
    until(lambda: texts(page, "writing") not in ([], [""]))
    page.find_element(By.ID, "stop").click()
    until(lambda: is_idle(page))
    job = server.worker._writing[0]
    until(lambda: job.is_abandoned)
    server.gate.is_open.set()
    assert texts(page, "assistant") != [""] and texts(page, "error") == []


def test_the_next_question_goes_with_what_was_said(page, server):
    ask(page, "a")
    until(lambda: texts(page, "assistant") and is_idle(page))
    answer = texts(page, "assistant")[0]
    page.execute_script("messages = [{role: 'user', content: 'a'}, {role: 'assistant', content: 'dog'}]")
    ask(page, "b")
    until(lambda: len(texts(page, "assistant")) == 2 and is_idle(page))
    prompt = server.speaker.tokenizer.decode(server.gate.batches[-1][0].prompt)
    assert prompt == "<u>a<a>dog<u>b<a>" and texts(page, "assistant")[0] == answer


def test_the_oldest_turns_go_with_a_notice_when_the_conversation_is_too_long(page, server):
    page.execute_script("messages = [{role: 'user', content: 'xyz'.repeat(20)}, {role: 'assistant', content: 'c'}]")
    ask(page, "b")
    until(lambda: texts(page, "assistant") and is_idle(page))
    assert "first question and answer are forgotten" in texts(page, "notice")[0]
    assert server.speaker.tokenizer.decode(server.gate.batches[-1][0].prompt) == "<u>b<a>"


def test_a_new_chat_is_empty(page, server):
    ask(page, "dog")
    until(lambda: texts(page, "assistant") and is_idle(page))
    page.find_element(By.ID, "fresh").click()
    assert texts(page, "turn") == [] and page.execute_script("return messages.length") == 0


def test_markup_is_shown_as_text_and_does_nothing(page):
    markup = "<img src=x onerror=broken()>"
    ask(page, markup)
    until(lambda: is_idle(page))
    assert texts(page, "user") == [markup]
    assert page.find_elements(By.CSS_SELECTOR, "#turns img") == []


def test_shift_and_enter_begin_a_line(page):
    question = page.find_element(By.ID, "question")
    question.send_keys("a", Keys.SHIFT, Keys.ENTER, Keys.NULL, "b")
    assert question.get_property("value") == "a\nb" and texts(page, "user") == []


def test_a_refusal_is_shown_and_the_question_comes_back(page):
    ask(page, "dog" * 60)
    assert "prompt and answer together may have" in until(lambda: texts(page, "error"))[0]
    until(lambda: is_idle(page))
    assert page.find_element(By.ID, "question").get_property("value") == "dog" * 60


@pytest.mark.parametrize(("scheme", "ground"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(22, 24, 28)")])
def test_the_page_follows_light_and_dark(page, scheme, ground):
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == ground


def test_the_browser_has_nothing_to_complain_about(page):
    page.get_log("browser")
    ask(page, "dog")
    until(lambda: texts(page, "assistant") and is_idle(page))
    assert [entry["message"] for entry in page.get_log("browser")] == []
