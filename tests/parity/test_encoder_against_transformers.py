"""Whole encoders against Hugging Face's: trained weights, logits, loss, gradients, and files that go both ways."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from mindformers.models.auto import AutoModel, AutoModelForQuestionAnswering
from mindformers.models.bert.weights import WEIGHTS
from tests.parity.tolerances import GRADIENT_RELATIVE, LOSS, MODEL

torch = pytest.importorskip("torch", reason="needs: pip install 'mindformers[oracle]'")
transformers = pytest.importorskip("transformers", reason="needs: pip install 'mindformers[oracle]'")

SENTENCES = [
    ("Where does the river rise?", "The river rises in the hills north of the town and flows for 80 km to the sea."),
    ("Who wrote it?", "The letter was written by her brother in 1911; she never answered."),
    ("What is measured?", "Temperature."),
]
SEQ = 24


@pytest.fixture(scope="module", autouse=True)
def graph_mode():
    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE)
    yield
    ms.set_context(mode=before)


def batch_of(rng):
    """Rows of different lengths, with a padded tail and two segments."""
    ids = rng.integers(1, 60, (3, SEQ))
    mask = (np.arange(SEQ) < np.array([[SEQ], [17], [9]])).astype(np.int64)
    return {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": (np.arange(SEQ) > 7) * mask}


def tensors(batch, dtype=np.int32):
    return [Tensor(batch[key].astype(dtype)) for key in ("input_ids", "attention_mask", "token_type_ids")]


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.3,  # far from linear, so that differences show
    )
    return transformers.BertForQuestionAnswering(config).eval()


@pytest.fixture(scope="module")
def folder(theirs, tmp_path_factory):
    path = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def ours(folder):
    return AutoModelForQuestionAnswering.from_pretrained(folder)


class Loss(nn.Cell):
    """The loss as a function of a batch with start and end."""

    def __init__(self, model):
        super().__init__(auto_prefix=False)
        self.model = model

    def construct(self, ids, mask, types, start, end):
        return self.model(ids, mask, types, None, None, start, end)


@pytest.fixture(scope="module")
def loss_and_gradients(ours):
    return ops.value_and_grad(Loss(ours), None, ours.trainable_params())


def test_the_trained_encoder_has_the_states_of_transformers_on_real_sentences(minilm_dir):
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm_dir)
    batch = tokenizer([a for a, _ in SENTENCES], [b for _, b in SENTENCES], padding=True, return_tensors="np")
    assert batch["attention_mask"].min() == 0
    assert batch["token_type_ids"].max() == 1
    with torch.no_grad():
        oracle = transformers.BertModel.from_pretrained(minilm_dir).eval()
        expected = oracle(**{key: torch.tensor(value) for key, value in batch.items()})
    states, pooled = AutoModel.from_pretrained(minilm_dir)(*tensors(batch, np.int64))
    real = batch["attention_mask"].astype(bool)
    distance = np.abs(states.asnumpy() - expected.last_hidden_state.numpy())[real].max()
    print(f"largest difference of the hidden states: {distance:.1e}")
    assert distance < MODEL
    assert np.abs(pooled.asnumpy() - expected.pooler_output.numpy()).max() < MODEL


@pytest.mark.parametrize("mode", [ms.GRAPH_MODE, ms.PYNATIVE_MODE], ids=["graph", "pynative"])
def test_logits_are_those_of_transformers(theirs, ours, mode):
    batch = batch_of(np.random.default_rng(2))
    with torch.no_grad():
        expected = theirs(**{key: torch.tensor(value) for key, value in batch.items()})
    ms.set_context(mode=mode)
    try:
        start, end = ours(*tensors(batch))
    finally:
        ms.set_context(mode=ms.GRAPH_MODE)
    real = batch["attention_mask"].astype(bool)
    assert np.abs(start.asnumpy() - expected.start_logits.numpy())[real].max() < MODEL
    assert np.abs(end.asnumpy() - expected.end_logits.numpy())[real].max() < MODEL


@pytest.mark.parametrize(
    "positions",
    [([3, 5, 8], [4, 9, 8]), ([3, SEQ, SEQ + 40], [SEQ, 9, 2]), ([-7, 0, 1], [0, -1, 3])],
    ids=["inside", "some outside the window", "some negative"],
)
def test_loss_and_gradients_are_those_of_transformers(theirs, ours, loss_and_gradients, positions):
    batch = batch_of(np.random.default_rng(3))
    start, end = (np.array(side) for side in positions)
    theirs.zero_grad()
    oracle = theirs(
        **{key: torch.tensor(value) for key, value in batch.items()},
        start_positions=torch.tensor(start),
        end_positions=torch.tensor(end),
    )
    oracle.loss.backward()
    expected = {name: parameter.grad.numpy() for name, parameter in theirs.named_parameters()}
    loss, gradients = loss_and_gradients(*tensors(batch), Tensor(start.astype(np.int32)), Tensor(end.astype(np.int32)))
    assert abs(float(loss) - oracle.loss.item()) < LOSS
    whole = np.sqrt(sum(float((value**2).sum()) for value in expected.values()))
    paths = [parameter.name for parameter in ours.trainable_params()]
    names = {step.paths[0]: step.theirs for step in WEIGHTS.export(paths)}
    for path, gradient in zip(paths, gradients):
        difference = gradient.asnumpy() - expected[names[path]]
        assert np.sqrt((difference**2).sum()) / whole < GRADIENT_RELATIVE, path


def test_a_batch_whose_answers_are_all_outside_has_loss_zero_and_no_gradient(loss_and_gradients):
    batch, outside = batch_of(np.random.default_rng(4)), Tensor(np.full(3, SEQ, np.int32))
    loss, gradients = loss_and_gradients(*tensors(batch), outside, outside)
    assert float(loss) == 0.0
    assert all((gradient.asnumpy() == 0).all() for gradient in gradients)


def test_types_and_positions_that_are_left_out_count_from_zero(ours):
    ids = Tensor(batch_of(np.random.default_rng(5))["input_ids"].astype(np.int32))
    spelled = [ops.ones_like(ids), ops.zeros_like(ids), Tensor(np.tile(np.arange(SEQ, dtype=np.int32), (3, 1)))]
    for short, long in zip(ours(ids), ours(ids, *spelled)):
        assert np.abs(short.asnumpy() - long.asnumpy()).max() < MODEL


def test_transformers_loads_what_we_save_with_the_same_logits(ours, theirs, tmp_path):
    ours.save_pretrained(tmp_path)
    loaded, info = transformers.AutoModelForQuestionAnswering.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    batch = {key: torch.tensor(value) for key, value in batch_of(np.random.default_rng(6)).items()}
    with torch.no_grad():
        assert torch.equal(loaded.eval()(**batch).start_logits, theirs(**batch).start_logits)


def test_a_round_trip_through_transformers_keeps_every_bit(ours, theirs, tmp_path):
    ours.save_pretrained(tmp_path)
    back = transformers.BertForQuestionAnswering.from_pretrained(tmp_path)
    for name, value in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name


def test_a_sequence_longer_than_the_positions_is_refused_with_both_numbers(ours):
    with pytest.raises(ValueError, match="33 tokens and the model 32 positions"):
        ours(ops.ones((1, 33), ms.int32))
