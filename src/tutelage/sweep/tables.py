"""Tables of a sweep: CSV for other tools and LaTeX for a paper."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict

from tutelage.sweep.results import SHARES, SweepResults, mean_share, mean_tokens
from tutelage.sweep.statistics import Comparison, summary

_LATEX = str.maketrans(
    {char: "\\" + char for char in "_%&#${}"}
    | {
        "\n": " ",
        "\r": " ",
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
)

_SHARES = [f"share_{key}" for key in SHARES]


def runs_csv(results: SweepResults) -> str:
    """One line per run: data set, arm, seed, metrics on test, billed tokens, shares and folder."""
    keys = [key for key, _ in results.metrics]
    lines = [
        [
            run.data,
            run.arm,
            run.seed,
            *(run.scores[key] for key in keys),
            run.tokens,
            *map(run.shares.get, SHARES),
            run.folder.as_posix(),
        ]
        for run in results.runs
    ]
    return _csv(["data", "arm", "seed", *keys, "billed_tokens", *_SHARES, "folder"], lines)


def arms_csv(results: SweepResults) -> str:
    """One line per arm and data set.

    Columns: number of runs; mean, standard deviation and interval of each metric; the sweep's
    metric of the majority class; means of the billed tokens and of both shares of data.
    """
    keys = [key for key, _ in results.metrics]
    lines = []
    for data in results.data:
        for arm in results.arms:
            if runs := results.of(arm, data):
                found = [summary([run.scores[key] for run in runs]) for key in keys]
                # Four columns per metric.
                cells = [
                    value for one in found for value in (one.mean, one.deviation, one.low, one.high)
                ]
                lines.append(
                    [
                        data,
                        arm,
                        len(runs),
                        *cells,
                        results.majority(data, results.metric),
                        mean_tokens(runs),
                        *(mean_share(runs, key) for key in SHARES),
                    ]
                )
    parts = [f"{key}_{part}" for key in keys for part in ("mean", "sd", "low", "high")]
    head = ["data", "arm", "runs", *parts, "majority", "billed_tokens", *_SHARES]
    return _csv(head, lines)


def comparisons_csv(found: Sequence[Comparison]) -> str:
    """One line per pair of arms: the fields of :class:`~tutelage.sweep.statistics.Comparison`."""
    return _csv([*Comparison.__dataclass_fields__], [list(asdict(one).values()) for one in found])


def arms_latex(results: SweepResults) -> str:
    """A LaTeX table (booktabs): one line per arm, one column per data set.

    A cell has mean and standard deviation of the sweep's metric in %, the best mean of a data set
    in bold. Further columns have the cost of a run over all data sets: mean billed tokens and, in
    %, the shares of data of the runs with a pool. The last line has the majority class, where it is
    known.
    """
    means = {
        (arm, data): summary([run.scores[results.metric] for run in runs])
        for arm in results.arms
        for data in results.data
        if (runs := results.of(arm, data))
    }
    head = [
        "",
        *(data.translate(_LATEX) for data in results.data),
        "billed tokens",
        *(rf"{title}, \%" for title in results.shares.values()),
    ]
    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
    ]
    for arm in results.arms:
        # Scores by data set, then the cost.
        cells = [arm.translate(_LATEX)]
        for data in results.data:
            found = means.get((arm, data))
            if found is None:
                cells.append("--")
                continue
            # Bold for the best mean of the data set.
            best = found.mean == max(one.mean for (_, on), one in means.items() if on == data)
            number = f"{100 * found.mean:.1f}"
            spread = (
                ""
                if math.isnan(found.deviation)
                else rf" {{\scriptsize $\pm$ {100 * found.deviation:.1f}}}"
            )
            cells.append((rf"\textbf{{{number}}}" if best else number) + spread)
        runs = results.of(arm)
        shares = [mean_share(runs, key) for key in results.shares]
        cells += [
            f"{mean_tokens(runs):,.0f}",
            *("--" if share is None else f"{100 * share:.1f}" for share in shares),
        ]
        lines.append(" & ".join(cells) + r" \\")
    constant = [results.majority(data, results.metric) for data in results.data]
    if any(one is not None for one in constant):
        cells = ["--" if one is None else f"{100 * one:.1f}" for one in constant]
        rest = ["--"] * (1 + len(results.shares))
        lines += [r"\midrule", " & ".join(["majority class", *cells, *rest]) + r" \\"]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _csv(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(
        [
            ["" if isinstance(cell, float) and math.isnan(cell) else _plain(cell) for cell in line]
            for line in lines
        ]
    )
    return text.getvalue()


def _plain(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula; an arm may be named by a foreign folder."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "@")) else cell
