"""What there is to choose of a quantisation besides its scheme."""

from __future__ import annotations

from dataclasses import dataclass, replace

from attn_runtime.errors import UsageError, did_you_mean

from ..schemes import QuantisedScheme, Scheme, option

# Calibration and rounding import torch and onnx, which takes seconds: after a command line has made its options.

#: Sizes of a block that every engine takes.
BLOCKS = (16, 32, 64, 128, 256)


@dataclass(frozen=True)
class QuantiseOptions:
    """calibrate       where samples of inputs come from: FOLDER, FILE.npz or package.module:callable; None: the golden inputs.
                    Of a generator, texts or rows of tokens, over which its perplexity is told too
    calibration     how a range is told from them, one of `calibration.METHODS`; None: the default
    block           rows of a weight that share a scale, of a scheme with blocks; None: the scheme's
    rounding        of weights, one of `quantised.ROUNDINGS`; None: the scheme's
    min_agreement   least share of rows whose class is the reference's, of a generator with recorded answers the share of their
                    tokens, each behind the reference's own; None: not asked
    leave           nodes, or modules with all that is in them, that are not quantised, as a file or a build names them
    max_size        most bytes of the files of this precision for a CPU; None: not asked
    """

    calibrate: str | None = None
    calibration: str | None = None
    block: int | None = None
    rounding: str | None = None
    min_agreement: float | None = None
    max_size: int | None = None
    leave: tuple[str, ...] = ()

    @property
    def given(self) -> list[str]:
        """What was chosen, as a command line calls it."""
        flags = {
            "--calibrate": self.calibrate,
            "--calibration": self.calibration,
            "--block-size": self.block,
            "--rounding": self.rounding,
            "--min-agreement": self.min_agreement,
            "--max-size": self.max_size,
            "--leave": self.leave or None,
        }
        return [name for name, value in flags.items() if value is not None]

    def check(self, scheme: Scheme) -> None:
        """UsageError for what the scheme has no use for, and for numbers out of range."""
        given = self.given
        if not given:
            return
        if not isinstance(scheme, QuantisedScheme):
            raise UsageError(
                f"{given[0]} is for a precision that quantises, and {option(scheme.name)} does not; leave it out, or take "
                "--precision int8"
            )
        from ..calibration import check_method, is_text_folder
        from .rounding import ROUNDINGS

        if self.rounding is not None and self.rounding not in ROUNDINGS:
            raise UsageError(
                f"--rounding {self.rounding}: unknown; {did_you_mean(self.rounding, ROUNDINGS)}available: {', '.join(ROUNDINGS)}"
            )
        if self.rounding == "gptq" and scheme.weights == "fp8":
            raise UsageError("--rounding gptq is for integers; fp8 rounds to the nearest number, leave it out")
        # Of texts a generator's perplexity is told whatever the scheme; whether it is one shows later.
        if self.calibrate is not None and not is_text_folder(self.calibrate):
            self.check_read(scheme)
        if self.calibration is not None and not scheme.calibrated:
            raise _unused("--calibration", scheme)
        if self.calibration is not None:
            check_method(self.calibration)
        if self.block is not None and (scheme.block is None or self.block not in BLOCKS):
            why = (
                f"has one scale per channel; blocks are for {_with_blocks()}"
                if scheme.block is None
                else "takes other blocks"
            )
            raise UsageError(
                f"--block-size {self.block}: {scheme.name} {why}; available: {', '.join(map(str, BLOCKS))}"
            )
        if self.min_agreement is not None and not 0 < self.min_agreement <= 1:
            raise UsageError(f"--min-agreement {self.min_agreement:g}: expected a share over 0 and up to 1, as in 0.99")
        if self.max_size is not None and self.max_size <= 0:
            raise UsageError(f"--max-size {self.max_size}: expected a number of bytes over 0")

    def check_read(self, scheme: QuantisedScheme) -> None:
        """UsageError where --calibrate names samples of a graph, and the scheme looks at none."""
        if not self.of(scheme).sampled:
            raise _unused("--calibrate", scheme)

    def of(self, scheme: QuantisedScheme) -> QuantisedScheme:
        """The scheme with the block and the rounding that were chosen here."""
        return replace(scheme, block=self.block or scheme.block, rounding=self.rounding or scheme.rounding)


def _unused(flag: str, scheme: QuantisedScheme) -> UsageError:
    return UsageError(
        f"{flag}: {scheme.name} needs no ranges of activations, so nothing is calibrated; leave it out, or take "
        "--precision int8"
    )


def _with_blocks() -> str:
    from .. import schemes

    found = [s for s in map(schemes.get, schemes.names()) if isinstance(s, QuantisedScheme) and s.block is not None]
    return ", ".join(s.name for s in found)
