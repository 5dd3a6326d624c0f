"""Files of a model on Hugging Face's hub, or a mirror of it, through the hub's own client and its cache on disk.

The client reads the environment: HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_TOKEN, HF_HUB_ETAG_TIMEOUT.
"""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Tuple, Type

from mindformers.errors import MAX_SHOWN, CheckpointError
from mindformers.log import logger
from mindformers.weights.folder import CONFIG, COPIED
from mindformers.weights.readers import BIN, BIN_INDEX, INDEX, SINGLE

RELEASED: Dict[str, str] = {
    "bert_tiny_uncased": "google/bert_uncased_L-2_H-128_A-2",
    "bert_base_uncased": "google-bert/bert-base-uncased",
    "bert_large_uncased": "google-bert/bert-large-uncased",
    "bert_base_chinese": "google-bert/bert-base-chinese",
    "qa_bert_base_uncased": "google-bert/bert-base-uncased",
    "txtcls_bert_base_uncased": "google-bert/bert-base-uncased",
    "tokcls_bert_base_chinese": "google-bert/bert-base-chinese",
    "qa_bert_base_uncased_squad": "csarron/bert-base-uncased-squad-v1",
    "albert_base_v2": "albert/albert-base-v2",
    "roberta_base": "FacebookAI/roberta-base",
    "t5_small": "google-t5/t5-small",
    "t5_base": "google-t5/t5-base",
    "gpt2_medium": "openai-community/gpt2-medium",
    "gpt2_large": "openai-community/gpt2-large",
    "gpt2_xl": "openai-community/gpt2-xl",
    "llama_7b": "huggyllama/llama-7b",
    "llama_13b": "huggyllama/llama-13b",
    "llama_33b": "huggyllama/llama-30b",
    "llama_65b": "huggyllama/llama-65b",
    "llama2_7b": "meta-llama/Llama-2-7b-hf",
    "llama2_13b": "meta-llama/Llama-2-13b-hf",
    "llama2_70b": "meta-llama/Llama-2-70b-hf",
    "baichuan_7b": "baichuan-inc/Baichuan-7B",
    "baichuan_13b": "baichuan-inc/Baichuan-13B-Base",
    "baichuan2_7b": "baichuan-inc/Baichuan2-7B-Base",
    "baichuan2_13b": "baichuan-inc/Baichuan2-13B-Base",
    "bloom_560m": "bigscience/bloom-560m",
    "bloom_7b1": "bigscience/bloom-7b1",
    "bloom_176b": "bigscience/bloom",
    "internlm_7b": "internlm/internlm-7b",
    "aquila_7b": "BAAI/Aquila-7B",
}
"""Our names of released weights -> where the hub has them. Names that the hub knows itself need no row (gpt2)."""
OUR_OWNER = "mindspore"
"""Published MindFormers files write released weights as ``mindspore/<name>``, too."""
SHAPE = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*|[a-z0-9][a-z0-9.-]*")
"""owner/name, or one of the hub's old names without an owner; those have no capital letter and no underscore."""
LONGEST = 96
"""Characters of the longest name that the hub accepts."""
KINDS = ((SINGLE, INDEX), (BIN, BIN_INDEX))
"""Weights in one file and the index of weights in several; the first kind that a model offers is taken."""


def identity(name: str) -> Optional[str]:
    """Return the hub's name for what a user calls weights, None when it cannot be one."""
    owner, _, last = name.rpartition("/")
    if owner in ("", OUR_OWNER) and last in RELEASED:
        return RELEASED[last]
    fits = SHAPE.fullmatch(name) and len(name) <= LONGEST and ".." not in name and "--" not in name
    is_file = Path(name).suffix in (".ckpt", ".safetensors", ".bin", ".pt", ".json", ".yaml", ".yml")
    return name if fits and not is_file and not name.endswith((".", "-", ".git")) else None


def fetch(name: str, revision: Optional[str] = None, with_weights: bool = True) -> Path:
    """Return the folder of a model's files in the client's cache, downloading what is missing and no more.

    When the hub cannot be asked, an earlier copy is taken. Raises CheckpointError that says why there is none.
    """
    import huggingface_hub
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    api = huggingface_hub.HfApi()
    # The first request is made once and with a time limit, so that nobody waits for retries where there is no network.
    try:
        info = api.model_info(name, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        offered = sorted(item.rfilename for item in info.siblings or ())
        wanted = chosen(offered, with_weights)
        if with_weights and not any(is_weights(item) for item in wanted):
            held = ", ".join(offered[:MAX_SHOWN]) or "nothing"
            accepted = " or ".join(item for pair in KINDS for item in pair)
            raise CheckpointError(name, [f"{api.endpoint}/{name}: offers no weights: no {accepted}, but {held}"])
        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=wanted))
    except OfflineModeIsEnabled:
        reason = f"HF_HUB_OFFLINE is set, so {api.endpoint} is not asked for '{name}'"
    except _transport_errors() as error:
        answer = getattr(error, "response", None)
        if isinstance(error, HfHubHTTPError) and answer is not None and answer.status_code in (401, 403, 404):
            raise CheckpointError(name, [_refusal(error, api.endpoint, name, revision)]) from error
        reason = f"{api.endpoint}/{name} cannot be fetched: {type(error).__name__}: {_first_line(error)}"
    copy = _cached(name, revision)
    if copy is not None and (not with_weights or any(is_weights(item.name) for item in copy.iterdir())):
        logger.warning("%s; the copy in %s is used", reason, copy)
        return copy
    lacking = f"{copy}: an earlier copy, without weights" if copy else f"no earlier copy in {constants.HF_HUB_CACHE}"
    raise CheckpointError(name, [reason, lacking])


def chosen(offered: Iterable[str], with_weights: bool) -> List[str]:
    """Return which of a model's files are needed: its description, its tokenizer and one kind of weights."""
    top = [name for name in offered if "/" not in name]
    wanted = [name for name in top if name == CONFIG or any(fnmatch(name, pattern) for pattern in COPIED)]
    if with_weights:
        for single, index in KINDS:
            if single in top:
                return [*wanted, single]
            if index in top:
                stem, _, ending = single.partition(".")
                return [*wanted, index, *(name for name in top if fnmatch(name, f"{stem}-*-of-*.{ending}"))]
    return wanted


def is_weights(name: str) -> bool:
    """Return whether a file of this name is what reading weights begins with."""
    return any(name in pair for pair in KINDS)


def _cached(name: str, revision: Optional[str]) -> Optional[Path]:
    """Return the folder of an earlier download, whole or not; None when there is none."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = huggingface_hub.snapshot_download(
            name, revision=revision, allow_patterns=[CONFIG], local_files_only=True
        )
    except LocalEntryNotFoundError:
        return None
    return Path(found)


def _refusal(error: Any, endpoint: str, name: str, revision: Optional[str]) -> str:
    """Return what the hub's refusal means for the user."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, GatedRepoError):
        return (
            f"{endpoint}/{name}: is gated; accept its terms on that page, then log in with 'hf auth login' or set "
            "HF_TOKEN"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{endpoint}/{name}: has no revision '{revision}'"
    if isinstance(error, RepositoryNotFoundError):
        return f"{endpoint}: has no model '{name}', or it is private and neither HF_TOKEN nor a log-in opens it"
    return f"{endpoint}/{name}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), "no further message")


def _transport_errors() -> Tuple[Type[BaseException], ...]:
    """Return what the client raises when a server does not answer as it should; it depends on the client's version.

    ValueError is an answer that is no JSON, e.g. the page of a captive portal.
    """
    from huggingface_hub import errors

    own = getattr(errors, "XetDownloadError", OSError)
    return (OSError, ValueError, own, *errors.HfHubHTTPError.__bases__)
