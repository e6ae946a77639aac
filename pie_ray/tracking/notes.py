"""The descriptions on MLflow's pages, in Markdown: what the sweep is, how far, what it found, where the rest lies."""

from __future__ import annotations

from collections.abc import Mapping

from ..progress import SweepProgress, clock
from .contract import SweepInfo, TrackedVariant, VariantMetrics
from .fields import clip

MEANINGS = {
    "top1": "share of correct answers, mean over the members",
    "top1_change": "the same, less the reference's",
    "num_pies": "examples whose most frequent answer is another than the reference's",
    "pie_fraction": "their share",
    "half_pie_fraction": "their share between halves of both populations; compare with noise_floor",
    "noise_floor": "the same between two halves of the reference: what chance alone moves",
    "num_significant": "examples whose votes differ significantly (q ≤ .05)",
    "top1_on_pies": "share of correct answers on the PIEs",
    "top1_without_pies": "share of correct answers on all other examples",
    "cie": "share of examples that a member and a reference member answer differently",
    "cie_u": "share that the reference member gets right and the member does not",
    "cie_u_ratio": "cie_u of the plain loss over that of this label-preserving one",
    "ece": "expected calibration error, mean over the members",
    "worst_class_change": "change of recall of the class that loses most",
    "corrupted_top1": "share of correct answers on corrupted images",
    "mce": "mean corruption error, relative to the reference",
    "relative_mce": "the same of what corruption adds to the error",
    "num_members": "networks of the population",
    "checkpoint_bytes": "size of a member's file, mean",
    "compressed_bytes": "the same after zstd",
    "multiply_adds": "of one image, zeros and all",
    "latency_ms": "milliseconds for a batch, the smallest that was measured, on the machine that measured",
    "speedup": "how many times as fast as the reference in float32, measured beside it",
    "achieved_sparsity": "share of zeros among the weights that may be pruned; those that are gone count as zeros",
}
"""Every figure that is logged of a variant."""

_COLUMNS = ("top-1", "change", "PIEs", "of all", "significant", "worst class", "KB")
_MAX_ROWS = 30
_MAX_FAILURES = 5
_MAX_REASON = 200


def sweep_note(
    sweep: SweepInfo, state: str, logged_params: Mapping[str, str], figures: VariantMetrics, links: Mapping[str, str]
) -> str:
    """The sweep's description; `links` has the addresses of `variants` (a saved view) and `report`."""
    parts = [
        # MLflow folds a description after a few lines, and of those only the first can be clicked on
        f"[Variants as a table]({links['variants']}) · [Report]({links['report']})",
        state,
        _headline(sweep, figures),
        _noise(figures),
        _table(sweep, figures),
        "- Model metrics, `by_sparsity`: figures over the sparsity in percent\n"
        "- Artifacts: the report, all tables and figures, and `recipe.yaml`, which makes the sweep again\n"
        f"- Predictions and checkpoints: `{sweep.results}`",
        f"**{sweep.name}** is a population study by pie_ray: what does a compressed network forget? Each child of this "
        "entry is a compression setting (variant), and the children of those are its networks (members), which differ "
        "by their seed alone. A *PIE* is an example whose most frequent answer differs from the reference's.",
        _changed(sweep, logged_params),
    ]
    return "\n\n".join(filter(None, parts))


def variant_note(sweep: SweepInfo, variant: TrackedVariant, figures: Mapping[str, float]) -> str:
    """A variant's description, with the meaning of each figure that it has."""
    legend = "\n".join(f"- `{name}`: {MEANINGS[name]}" for name in MEANINGS if name in figures)
    text = f"`{variant.variant_id}` of the sweep **{sweep.name}**: {_setting(variant)}. {variant.num_members} members."
    return text + (f"\n\n{legend}" if legend else "")


def _setting(variant: TrackedVariant) -> str:
    if variant.pruning is None and variant.quantization is None:
        return "the reference, uncompressed, which all others are compared with"
    what = "channels" if variant.pruning and variant.pruning.startswith("structured") else "weights"
    text = (
        f"networks of which {100 * variant.sparsity:.4g} % of the {what} were pruned (`{variant.pruning}`)"
        if variant.pruning
        else "the reference's networks"
    )
    text += ", trained on with the rounding of their quantization" if variant.is_quantization_aware else ""
    text += f", with the label-preserving loss `{variant.loss}`" if variant.loss else ""
    return text + (f", converted to `{variant.quantization}`" if variant.quantization else "")


def progress_text(progress: SweepProgress) -> str:
    """How far a sweep is, in a line, and the latest failures."""
    line = f"**{progress.state.capitalize()}.** {progress.num_done:,} of {progress.num_members:,} members"
    line += f", {progress.num_running:,} under way" if progress.num_running else ""
    line += f", {progress.num_failed:,} failed" if progress.num_failed else ""
    line += f", {progress.num_retried:,} tried again" if progress.num_retried else ""
    line += f"; {progress.members_per_hour:,.0f} an hour" if progress.members_per_hour else ""
    line += f", about {clock(progress.seconds_left)} left" if progress.seconds_left else ""
    if progress.cluster is not None:
        line += f"; {progress.cluster.cpus_used:g} of {progress.cluster.cpus:g} processors in use"
    note = _plain(progress.note) if progress.note else ""
    return "\n\n".join(filter(None, [line, note, _failures(progress)]))


def ended_text(status: str, message: str, progress: SweepProgress | None) -> str:
    """How a sweep ended, with what failed where this driver saw it."""
    failures = "" if progress is None or status == "complete" else _failures(progress)
    return "\n\n".join(filter(None, [f"**{status.capitalize()}.** {message}", failures]))


def _failures(progress: SweepProgress) -> str:
    lines = [
        f"- {failure.variant_id} seed {failure.seed}{', given up' * failure.is_final}: {_plain(failure.reason)}"
        for failure in progress.failures[-_MAX_FAILURES:]
    ]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """One line of what a program said, with nothing in it that Markdown or HTML would read."""
    line = (text.strip().splitlines() or [""])[0][:_MAX_REASON].replace("`", "'")
    return f"`{line}`"


def _changed(sweep: SweepInfo, logged_params: Mapping[str, str]) -> str:
    changed = [
        f"`{key}`: {logged_params[key]} → {clip(value)}"
        for key, value in sweep.params.items()
        if logged_params.get(key, clip(value)) != clip(value)
    ]
    # MLflow never changes a parameter, so a recipe that grew would be shown as it first was
    return "Changed since the first start: " + "; ".join(changed[:20]) + "." if changed else ""


def _headline(sweep: SweepInfo, figures: VariantMetrics) -> str:
    """The variant that moves most."""
    moved = [variant for variant in sweep.variants if "num_pies" in figures.get(variant.variant_id, {})]
    if not moved:
        return ""
    most = max(moved, key=lambda variant: figures[variant.variant_id]["num_pies"])
    row = figures[most.variant_id]
    text = f"`{most.variant_id}` changes most: the most frequent answer on {row['num_pies']:,.0f} examples"
    text += f" ({100 * row['pie_fraction']:.1f} %)" if "pie_fraction" in row else ""
    return text + (f", top-1 by {_points(row['top1_change'])} points." if "top1_change" in row else ".")


def _table(sweep: SweepInfo, figures: VariantMetrics) -> str:
    """A row a variant that was analysed, in the sweep's order."""
    analysed = [variant for variant in sweep.variants if "top1" in figures.get(variant.variant_id, {})]
    if not analysed:
        return ""
    # MLflow sets cells close together
    header = " | ".join(f"&emsp;{name}" for name in _COLUMNS)
    lines = [f"| variant | {header} |", "|---|" + "---:|" * len(_COLUMNS)]
    for variant in analysed[:_MAX_ROWS]:
        row = figures[variant.variant_id]
        cells = [
            f"{100 * row['top1']:.1f} %",
            _points(row.get("top1_change")),
            _whole(row.get("num_pies")),
            f"{100 * row['pie_fraction']:.1f} %" if "pie_fraction" in row else "",
            _whole(row.get("num_significant")),
            _points(row.get("worst_class_change")),
            _whole(row["checkpoint_bytes"] / 1000 if "checkpoint_bytes" in row else None),
        ]
        lines.append(f"| {variant.variant_id} | {' | '.join(cells)} |")
    if len(analysed) > _MAX_ROWS:
        lines.append(f"\nand {len(analysed) - _MAX_ROWS} more")
    return "\n".join(lines)


def _noise(figures: VariantMetrics) -> str:
    floors = [row["noise_floor"] for row in figures.values() if "noise_floor" in row]
    if not floors:
        return ""
    return (
        f"Noise floor: two halves of the reference population differ on {100 * floors[0]:.1f} % of the examples, "
        "by chance alone; `half_pie_fraction` is a variant's figure to compare with it."
    )


def _points(value: float | None) -> str:
    """Percentage points; + 0.0 makes of -0.0 what a person would write."""
    return "" if value is None else f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "−")


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
