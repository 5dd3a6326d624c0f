"""The tables of dropout: the share they drop, that no masks follow each other or are read twice, that they repeat."""

import dataclasses
import math

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from mindformers.arch.stacks import DecoderArch, EncoderArch, EncoderDecoderArch
from mindformers.models.decoder import DecoderModel
from mindformers.models.encoder import EncoderModel
from mindformers.models.encoder_decoder import EncoderDecoderModel
from mindformers.nn import attention, dropout
from mindformers.nn.dropout import KEY, SITE_ROWS, DropoutNoise, mask_at, shifted
from tests.parity import reference
from tests.parity.reference import RNG

mode, operators, same_numbers = reference.mode, reference.operators, reference.same_numbers

SIZES = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_layers": 2,
    "num_heads": 2,
    "intermediate_size": 16,
    "max_positions": 8,
}
RATES = {"embedding_dropout": 0.3, "hidden_dropout": 0.3, "attention_dropout": 0.3, "mlp_dropout": 0.3}
WIDE = EncoderArch(**{**SIZES, "hidden_size": 64, "num_heads": 4, "intermediate_size": 128})
KINDS = ("hidden", "scores", "cross", "mlp")
B, S, SOURCE = 2, 32, 48


def tables_of(seed, step=1, rate=0.1, stream=0):
    """The four tables of a step (counted from 1), by kind."""
    arch = dataclasses.replace(WIDE, hidden_dropout=rate, attention_dropout=rate, mlp_dropout=rate)
    cell = DropoutNoise(arch, 2, seed)
    for _ in range(step):
        key = cell()
    return {kind: table.asnumpy() for kind, table in zip(KINDS, cell.tables(key, stream, B, S, SOURCE))}


def test_a_table_has_the_rows_of_every_site_that_reads_it():
    shapes = {kind: table.shape for kind, table in tables_of(0).items()}
    assert shapes == {
        "hidden": (B * S + SITE_ROWS * 7, 64),  # embeddings, three sub-layers in each of two layers, output
        "scores": (B * 4 * S + SITE_ROWS, S),
        "cross": (B * 4 * S + SITE_ROWS, SOURCE),
        "mlp": (B * S + SITE_ROWS, 128),
    }


def test_a_table_without_a_rate_or_without_a_source_is_not_made():
    def made(**rates):
        cell = DropoutNoise(dataclasses.replace(WIDE, **rates), 2, 0)
        return [kind for kind, table in zip(KINDS, cell.tables(cell(), 0, B, S, source)) if table is not None]

    for source in (0, SOURCE):
        assert made() == []
        assert made(hidden_dropout=0.1) == ["hidden"]
        assert made(attention_dropout=0.1) == ["scores", "cross"][: 1 + bool(source)]
        assert made(mlp_dropout=0.1) == ["mlp"]


@pytest.mark.parametrize("rate", [0.1, 0.5])
@pytest.mark.parametrize("stream", [0, 1])
def test_dropout_drops_its_share_in_every_region_of_every_table(rate, stream):
    spread = math.sqrt(rate * (1 - rate))
    for kind, table in tables_of(0, rate=rate, stream=stream).items():
        assert abs((~table).mean() - rate) < 5 * spread / math.sqrt(table.size), kind
        for axis in (0, 1):  # each row and column by itself, at six standard deviations
            share = (~table).mean(axis)
            assert np.abs(share - rate).max() < 6 * spread / math.sqrt(table.shape[axis]), kind


def test_masks_of_kinds_stacks_steps_seeds_and_neighbouring_sites_do_not_follow_each_other():
    tables = {
        (place, kind): table
        for place, chosen in {
            "a": (0, 1, 0),
            "next step": (0, 2, 0),
            "next seed": (1, 1, 0),
            "stack": (0, 1, 1),
        }.items()
        for kind, table in tables_of(chosen[0], chosen[1], stream=chosen[2]).items()
    }
    names = sorted(tables)
    pairs = [(tables[one], tables[other]) for i, one in enumerate(names) for other in names[:i]]
    for table in tables.values():
        pairs += [(table[SITE_ROWS:], table[:-SITE_ROWS]), (table[1:], table[:-1]), (table[:, 1:], table[:, :-1])]
    for one, other in pairs:
        rows, columns = (min(sizes) for sizes in zip(one.shape, other.shape))
        one, other = one[:rows, :columns], other[:rows, :columns]
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 6 / math.sqrt(one.size)


def test_masks_repeat_for_a_seed_and_differ_between_seeds(mode):
    first, again, other = tables_of(5, 2), tables_of(5, 2), tables_of(6, 2)
    assert all((first[kind] == again[kind]).all() and (first[kind] != other[kind]).any() for kind in KINDS)


def test_a_new_seed_starts_the_masks_anew():
    cell = DropoutNoise(WIDE, 2, 0)
    cell()
    cell.set_seed(2**31 + 4)
    assert cell.state.asnumpy().tolist() == [4, 0]
    assert cell().asnumpy() == DropoutNoise(WIDE, 2, 4)().asnumpy()


def test_a_turn_of_shared_layers_reads_where_a_layer_of_that_number_would():
    numbered = tuple(Tensor(np.arange(2000).reshape(1000, 2)) for _ in range(4))
    noise = (numbered[0], numbered[1], None, numbered[3], Tensor(5))
    assert shifted(None, 3) is None
    assert shifted(noise, 0) is noise
    for turn in (1, 2):
        moved = shifted(noise, turn)
        for kind, sites in ((0, 3), (1, 1), (3, 1)):
            read = mask_at(moved[kind], 1, (2, 3, 2), ms.int64).asnumpy()
            assert (read == mask_at(noise[kind], 1 + sites * turn, (2, 3, 2), ms.int64).asnumpy()).all()
        assert moved[2] is None
        assert moved[KEY] is noise[KEY]


STACKS = {
    "encoder": (EncoderModel, EncoderArch(**SIZES, **RATES), {"hidden": 5, "scores": 2, "mlp": 2}),
    "encoder_with_other_embeddings": (
        EncoderModel,
        EncoderArch(**SIZES, **{**RATES, "embedding_dropout": 0.2}, embedding_size=4, drops_mlp_output=False),
        {"hidden": 2, "scores": 2, "mlp": 2, "fresh": 1},
    ),
    **{
        f"four_layers_of_{groups}": (
            EncoderModel,
            EncoderArch(**{**SIZES, "num_layers": 4}, **RATES, distinct_layers=groups),
            {"hidden": 9, "scores": 4, "mlp": 4},
        )
        for groups in (1, 2, 3)
    },
    "dense_classifier": (
        EncoderModel,
        EncoderArch(**SIZES, **RATES, head="sequence_classification", classifier="dense", classifier_dropout=0.3),
        {"hidden": 5, "scores": 2, "mlp": 2, "fresh": 2},
    ),
    "decoder": (
        DecoderModel,
        DecoderArch(**SIZES, **RATES, pre_norm=True, head="token_classification", classifier_dropout=0.1),
        {"hidden": 5, "scores": 2, "mlp": 2, "fresh": 1},
    ),
    "encoder_decoder": (
        EncoderDecoderModel,
        EncoderDecoderArch(**SIZES, **RATES, pre_norm=True, positions="relative", num_decoder_layers=3),
        {"hidden": 6 + 11, "scores": 5, "cross": 3, "mlp": 5},
    ),
    "encoder_decoder_with_other_embeddings": (
        EncoderDecoderModel,
        EncoderDecoderArch(
            **SIZES,
            embedding_dropout=0.2,
            hidden_dropout=0.3,
            pre_norm=True,
            positions="relative",
            num_decoder_layers=1,
        ),
        {"hidden": 5 + 4, "fresh": 2},
    ),
}


@pytest.mark.parametrize("name", sorted(STACKS))
def test_no_two_uses_of_dropout_in_a_model_read_the_same_rows(name, monkeypatch):
    """Rows of the real tables are replaced by their numbers, and every read is noted."""
    kind, arch, expected = STACKS[name]
    ms.set_context(mode=ms.PYNATIVE_MODE)  # a graph would hold the tables as they are
    model, reads, streams = kind(arch), [], []
    real_tables, real_mask, real_draw = DropoutNoise.tables, dropout.mask_at, dropout.keep_table

    def numbered(self, key, stream, *sizes):
        *tables, key = real_tables(self, key, stream, *sizes)
        for place, table in enumerate(tables):
            if table is not None:
                rows = np.arange(table.shape[0])[:, None] + 100000 * (place + 10 * stream)
                tables[place] = Tensor(np.broadcast_to(rows, table.shape).astype(np.int32))
        return *tables, key

    def noted(table, site, shape, dtype):
        rows = real_mask(table, site, shape, ms.int32).asnumpy()  # fails where a table is too short
        assert rows.shape == tuple(shape)
        reads.append(int(rows.flat[0]))
        return ms.ops.ones(shape, dtype)

    def drawn(rows, columns, least, key, stream):
        streams.append(int(key.asnumpy()) + stream)
        return real_draw(rows, columns, least, key, stream)

    monkeypatch.setattr(DropoutNoise, "tables", numbered)
    monkeypatch.setattr(dropout, "keep_table", drawn)
    for module in (dropout, attention):
        monkeypatch.setattr(module, "mask_at", noted)
    model.set_train(True)
    ids = Tensor(RNG.integers(1, 20, (2, 6)).astype(np.int32))
    if kind is EncoderDecoderModel:
        model(ids, decoder_input_ids=ids[:, :4])
    else:
        model(ids)
    assert len(set(reads)) == len(reads)
    found = {place: sum(read // 100000 % 10 == number for read in reads) for number, place in enumerate(KINDS)}
    stacks = 2 if kind is EncoderDecoderModel else 1
    num_tables = sum(found[place] > 0 for place in KINDS if place != "cross") * stacks + (found["cross"] > 0)
    found["fresh"] = len(streams) - num_tables
    assert {place: number for place, number in found.items() if number} == expected
    words = streams + [stream + 1 for stream in streams]  # rows and columns have a stream each
    assert len(set(words)) == len(words)


def test_training_with_dropout_differs_from_step_to_step_and_evaluation_does_not():
    kind, arch, _ = STACKS["decoder"]
    model, ids = kind(dataclasses.replace(arch, num_layers=1)), Tensor(np.array([[3, 4, 5, 6]], np.int32))
    model.set_train(True)
    assert (model(ids).asnumpy() != model(ids).asnumpy()).any()
    assert model.dropout.state.asnumpy()[1] == 2
    model.set_train(False)
    assert (model(ids).asnumpy() == model(ids).asnumpy()).all()
    assert model.dropout.state.asnumpy()[1] == 2


@pytest.mark.parametrize("name", ["encoder", "encoder_decoder"])
def test_a_counter_that_is_put_back_repeats_a_training_step_bit_for_bit(name):
    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE)
    try:
        kind, arch, _ = STACKS[name]
        fewer = {"num_layers": 1, **({"num_decoder_layers": 1} if kind is EncoderDecoderModel else {})}
        model, ids = kind(dataclasses.replace(arch, **fewer), seed=0), Tensor(np.array([[3, 4, 5, 6, 7, 8]], np.int32))
        inputs = (ids, None, ids) if kind is EncoderDecoderModel else (ids,)
        model.set_train(True)
        first = model(*inputs).asnumpy()
        state = model.dropout.state.asnumpy().copy()
        second, third = model(*inputs).asnumpy(), model(*inputs).asnumpy()
        model.dropout.state.set_data(Tensor(state))
        assert state.tolist() == [0, 1]
        assert (first != second).any()
        assert (model(*inputs).asnumpy() == second).all()
        assert (model(*inputs).asnumpy() == third).all()
        assert model.dropout.state.asnumpy().tolist() == [0, 3]
    finally:
        ms.set_context(mode=before)
