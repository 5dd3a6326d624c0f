"""Chat templates: conversations written out as text by Jinja templates, as Hugging Face's tokenizers carry them."""

from __future__ import annotations

import functools
import json
from datetime import datetime
from typing import Any, Dict, List, Mapping, Optional, Union

from mindformers.errors import MissingExtraError, UnknownNameError, UsageError

Stored = Union[str, List[Dict[str, str]], None]
"""What tokenizer_config.json may hold: a template, or a list of objects with `name` and `template`."""

_ALPACA = """\
{{- bos_token }}
{%- for message in messages %}
{%- if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}
{%- elif message['role'] == 'user' %}
{%- if loop.first %}
{%- if message['input'] %}
{{- 'Below is an instruction that describes a task, paired with an input that provides further context. ' }}
{%- else %}
{{- 'Below is an instruction that describes a task. ' }}
{%- endif %}
{{- 'Write a response that appropriately completes the request.\\n\\n' }}
{%- endif %}
{{- '### Instruction:\\n' + message['content'] + '\\n\\n' }}
{%- if message['input'] %}{{ '### Input:\\n' + message['input'] + '\\n\\n' }}{% endif %}
{%- elif message['role'] == 'assistant' %}{{ '### Response:' + message['content'] + eos_token }}
{%- if not loop.last %}{{ '\\n\\n' }}{% endif %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '### Response:' }}{% endif %}"""

_LLAMA2 = """\
{%- set names = namespace(system='') %}
{%- for message in messages %}
{%- if message['role'] == 'system' %}
{%- set names.system = '<<SYS>>\\n' + message['content'] + '\\n<</SYS>>\\n\\n' %}
{%- elif message['role'] == 'user' %}
{{- bos_token + '[INST] ' + (names.system + message['content']).strip() + ' [/INST]' }}
{%- set names.system = '' %}
{%- elif message['role'] == 'assistant' %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}
{%- endif %}
{%- endfor %}"""

_INTERNLM = """\
{{- bos_token }}
{%- for message in messages %}
{%- if message['role'] == 'system' %}{{ '<|System|>:' + message['content'] + '\\n' }}
{%- elif message['role'] == 'user' %}{{ '<|User|>:' + message['content'] + '\\n' }}
{%- elif message['role'] == 'assistant' %}{{ '<|Bot|>:' + message['content'] + '<eoa>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|Bot|>:' }}{% endif %}"""

_BLOOM = """\
{%- for message in messages %}
{%- if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}
{%- elif message['role'] == 'user' %}{{ 'Human: ' + message['content'] + '\\n\\n' }}
{%- elif message['role'] == 'assistant' %}{{ 'Assistant:' + message['content'] + eos_token }}
{%- if not loop.last %}{{ '\\n\\n' }}{% endif %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"""


def _reserved(user: str, assistant: str) -> str:
    """Return the template of a Baichuan chat model; a reserved token opens each turn."""
    return (
        "{%- for message in messages %}"
        "{%- if message['role'] == 'system' %}{{ message['content'] }}"
        f"{{%- elif message['role'] == 'user' %}}{{{{ '{user}' + message['content'] }}}}"
        f"{{%- elif message['role'] == 'assistant' %}}{{{{ '{assistant}' + message['content'] + eos_token }}}}"
        "{%- endif %}{%- endfor %}"
        f"{{%- if add_generation_prompt %}}{{{{ '{assistant}' }}}}{{% endif %}}"
    )


TEMPLATES: Dict[str, str] = {
    "alpaca": _ALPACA,
    "llama2": _LLAMA2,
    "baichuan": _reserved("<reserved_102>", "<reserved_103>"),
    "baichuan2": _reserved("<reserved_106>", "<reserved_107>"),
    "internlm": _INTERNLM,
    "bloom": _BLOOM,
}
"""Formats that models were tuned on: Stanford Alpaca, LLaMA 2 Chat, Baichuan-13B-Chat, Baichuan2 Chat,
InternLM-Chat, and BELLE's for BLOOM. A message of "alpaca" may hold "input" beside "content"."""
ENDS: Dict[str, str] = {
    "alpaca": "### Instruction:",
    "baichuan": "<reserved_102>",
    "baichuan2": "<reserved_106>",
    "internlm": "<eoa>",
    "bloom": "Human:",
}
"""What a model of a format writes after its answer, beside the end token: the end or the beginning of a turn."""


def render(stored: Stored, asked: Optional[str], variables: Mapping[str, Any]) -> str:
    """Return a conversation as text.

    `asked` is a template or a name, None for the stored one. Raises UsageError when there is none, when it is no
    valid template, and when it refuses the messages.
    """
    template = choose(stored, asked)
    try:
        from jinja2 import TemplateError
    except ImportError:
        raise MissingExtraError("jinja2", "chat", "a chat template") from None
    try:
        return _compiled(template).render({"tools": None, "documents": None, **variables})
    except TemplateError as error:
        raise UsageError(
            f"chat template: {type(error).__name__}: {error}; see the template and the messages"
        ) from error


def choose(stored: Stored, asked: Optional[str]) -> str:
    """Return the template that a name stands for, or `asked` itself when it is one. Raises UsageError."""
    own = {"default": stored} if isinstance(stored, str) else {item["name"]: item["template"] for item in stored or ()}
    if asked is not None and "{" in asked:
        return asked
    if asked is None and "default" not in own:
        kept = f"has only named ones ({', '.join(own)})" if own else "has none"
        raise UsageError(
            f"a chat template is needed and the tokenizer {kept}; give chat_template=... (chat, serve: --template) "
            f"with a template or one of: {', '.join([*own, *TEMPLATES])}"
        )
    known = {**TEMPLATES, **own}
    name = asked or "default"
    if name not in known:
        raise UnknownNameError("chat template", name, known)
    return known[name]


@functools.lru_cache(maxsize=16)
def _compiled(template: str) -> Any:
    """Return a compiled template; it sees only what it is given and cannot change it."""
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """Accepts {% generation %} around the model's words, which only matters for loss masks."""

        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            """Return the enclosed statements as they are."""
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(
        value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, **options: Any
    ) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, **options)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template)
