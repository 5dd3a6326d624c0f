"""How much a step does, so that its time says how fast it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict


@dataclass(frozen=True)
class StepWork:
    """What one optimizer step takes and does on all devices together; 0 for what is not known."""

    rows: int
    tokens: int = 0
    """Padding included."""
    flops: int = 0
    """Floating-point operations of the model's matrix products; a multiplication with its addition counts as two."""
    peak_flops: float = 0.0
    """Operations a second that the devices do at best."""

    def rates(self, seconds: float) -> Dict[str, float]:
        """Return what is done a second, by the names of scalars, in a step of `seconds`."""
        rates = {"samples_per_second": self.rows / seconds}
        if self.tokens:
            rates["tokens_per_second"] = self.tokens / seconds
        if self.flops:
            rates["tflops"] = self.flops / seconds / 1e12
        if self.flops and self.peak_flops:
            rates["share_of_peak"] = self.flops / seconds / self.peak_flops
        return rates

    def text(self, seconds: float) -> str:
        """Return the rates as they stand in a line of the log."""
        rates = self.rates(seconds)
        parts = [f"{rates['samples_per_second']:.1f} samples/s"]
        if "tokens_per_second" in rates:
            parts.append(f"{rates['tokens_per_second']:.0f} tokens/s")
        if "tflops" in rates:
            share = f" ({rates['share_of_peak']:.1%} of peak)" if "share_of_peak" in rates else ""
            parts.append(f"{rates['tflops']:.3g} TFLOP/s{share}")
        return ", ".join(parts)
