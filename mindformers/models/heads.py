"""What stands on a stack of layers, and its loss.

Shape suffixes: B batch, S sequence, D hidden.
"""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import nn, ops

from mindformers.nn import functional
from mindformers.nn.linear import Linear


class SpanHead(nn.Cell):
    """Scores every token as start and as end of an answer (Devlin et al. 2019, arXiv:1810.04805, section 4.2)."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.span = Linear(hidden_size, 2)

    def construct(self, hidden_BSD):
        """[B, S, D] -> start and end logits, each float32 [B, S]."""
        logits_BS2 = self.span(hidden_BSD).astype(mstype.float32)
        return logits_BS2[:, :, 0], logits_BS2[:, :, 1]


def span_loss(start_logits_BS, end_logits_BS, start_positions, end_positions):
    """Return the mean of the cross entropies of start and end, a float32 scalar.

    Positions are integers [B] or [B, 1], in tokens; one past the sequence (an answer outside the window) is ignored,
    a negative one counts as 0. A batch whose positions are all ignored has loss 0.
    """
    seq = start_logits_BS.shape[1]
    start_B = ops.clamp(start_positions.reshape(-1), 0, seq)
    end_B = ops.clamp(end_positions.reshape(-1), 0, seq)
    start_loss = functional.cross_entropy(start_logits_BS, start_B, seq)
    end_loss = functional.cross_entropy(end_logits_BS, end_B, seq)
    return (start_loss + end_loss) / 2
