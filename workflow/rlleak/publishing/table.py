"""A table whose cells know the measured value and the paper's, written as CSV, LaTeX (booktabs) and HTML."""

from dataclasses import dataclass, field
from html import escape

import numpy as np
import pandas as pd

_LATEX = {"±": r"$\pm$", "%": r"\%", "_": r"\_", "&": r"\&", ">": "$>$", "<": "$<$", "≥": r"$\ge$", "≤": r"$\le$"}
_LATEX |= {"∞": r"$\infty$", "−": "$-$", "ε": r"$\varepsilon$"}
_LATEX |= {"Q̂": r"$\hat{Q}$", "#": r"\#", "→": r"$\to$", "·": r"$\cdot$", "×": r"$\times$"}
_LATEX |= {
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "σ": r"$\sigma$",
    "‖": r"$\|$",
    "~": r"\textasciitilde{}",
}
_MORE = ("std", "low", "high", "paper")


def latex(text: str) -> str:
    """Text with the characters that LaTeX would misread written its way."""
    text = text.replace("Q̂", "\0")
    return "".join(_LATEX.get(letter, letter) for letter in text).replace("\0", _LATEX["Q̂"])


@dataclass(frozen=True)
class Cell:
    """One number, its spread or interval, and what the paper prints in that place (in the paper's own rounding)."""

    value: float | None = None
    spread: float | None = None
    digits: int = 2
    paper: str = ""
    best: bool = False
    text: str = ""
    interval: tuple[float, float] | None = None

    @property
    def shown(self) -> str:
        """'22.81 ± 5.99', '0.4 [0.2, 0.6]', or a given text, or an en dash where nothing was measured."""
        if self.text:
            return self.text
        if self.value is None or not np.isfinite(self.value):
            return "–"
        if self.interval is not None and np.isfinite(self.interval).all():
            return f"{self._rounded(self.value)} [{', '.join(map(self._rounded, self.interval))}]"
        if self.spread is None or not np.isfinite(self.spread):
            return self._rounded(self.value)
        return f"{self._rounded(self.value)} ± {self._rounded(self.spread)}"

    def _rounded(self, value: float) -> str:
        small = value != 0 and abs(value) < 0.5 * 10**-self.digits
        return f"{value:.1e}" if small or abs(value) >= 1e6 else f"{value:.{self.digits}f}"


@dataclass(frozen=True)
class Row:
    """The row's labels, then one cell per column; a missing cell stays empty."""

    labels: tuple[str, ...]
    cells: dict[str, Cell]


@dataclass
class Table:
    """labels: headings of the row labels; columns: headings of the cells; notes: what a reader must know."""

    labels: tuple[str, ...]
    columns: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    groups: int = 1
    """How many of the labels make a group: a rule is drawn where they change."""

    def frame(self) -> pd.DataFrame:
        """Numbers for other programs: per column its value, `… std`, `… low`, `… high` and `… paper` where given."""
        records = []
        for row in self.rows:
            record: dict[str, object] = dict(zip(self.labels, row.labels, strict=True))
            for column in self.columns:
                cell = row.cells.get(column, Cell())
                number = cell.value if cell.digits or cell.value is None else int(cell.value)
                # Words where a cell has no number.
                record[column] = cell.text or None if number is None else number
                record[f"{column} std"] = cell.spread
                record[f"{column} low"], record[f"{column} high"] = cell.interval or (None, None)
                record[f"{column} paper"] = cell.paper or None
            records.append(record)
        frame = pd.DataFrame(records)
        extra = [name for column in self.columns for name in (f"{column} {more}" for more in _MORE)]
        return frame.drop(columns=[name for name in extra if name in frame and frame[name].isna().all()])

    def to_csv(self) -> str:
        """The frame as CSV."""
        return self.frame().to_csv(index=False)

    def to_latex(self, caption: str, name: str) -> str:
        """A booktabs table; the paper's values stand in small italics below ours. Needs booktabs and graphicx."""
        lines = [
            "% \\usepackage{booktabs,graphicx}",
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{latex(caption)}}}",
            f"\\label{{tab:{name}}}",
            "\\smallskip",
            "\\resizebox{\\linewidth}{!}{%",
            f"\\begin{{tabular}}{{{'l' * len(self.labels)}{'r' * len(self.columns)}}}",
            "\\toprule",
            " & ".join(latex(heading) for heading in (*self.labels, *self.columns)) + r" \\",
        ]
        for row, labels, starts_group in self._sparse_rows():
            lines.append("\\midrule") if starts_group else None
            lines.append(" & ".join([*map(latex, labels), *(self._latex_cell(row, c) for c in self.columns)]) + r" \\")
            papers = [row.cells.get(column, Cell()).paper for column in self.columns]
            if any(papers):
                small = [f"\\footnotesize\\textit{{{latex(paper)}}}" if paper else "" for paper in papers]
                head = [""] * (len(self.labels) - 1) + ["\\footnotesize\\textit{paper}"]
                lines.append(" & ".join([*head, *small]) + r" \\")
        lines += ["\\bottomrule", "\\end{tabular}}"]
        lines += [f"\n\\smallskip{{\\footnotesize {latex(note)}}}" for note in self.notes]
        return "\n".join([*lines, "\\end{table}", ""])

    def _latex_cell(self, row: Row, column: str) -> str:
        if column not in row.cells:
            return ""
        shown = latex(row.cells[column].shown)
        return f"\\textbf{{{shown}}}" if row.cells[column].best else shown

    def to_html(self, caption: str) -> str:
        """A fragment that the report embeds; readable on its own. The paper's values stand in grey below ours."""
        head = "".join(f'<th class="label">{escape(heading)}</th>' for heading in self.labels)
        head += "".join(f"<th>{escape(heading)}</th>" for heading in self.columns)
        lines = [
            f'<table class="published"><caption>{escape(caption)}</caption>',
            f"<thead><tr>{head}</tr></thead><tbody>",
        ]
        for row, labels, starts_group in self._sparse_rows():
            cells = "".join(f"<th>{escape(label)}</th>" for label in labels)
            for column in self.columns:
                cells += self._html_cell(row.cells.get(column))
            lines.append(f"<tr{' class=group' if starts_group else ''}>{cells}</tr>")
        notes = "".join(f'<p class="note">{escape(note)}</p>' for note in self.notes)
        return "\n".join([*lines, "</tbody></table>", notes, ""])

    @staticmethod
    def _html_cell(cell: Cell | None) -> str:
        if cell is None:
            return "<td></td>"
        paper = f'<br><span class="paper" style="color:#666">{escape(cell.paper)}</span>' if cell.paper else ""
        shown = f"<b>{escape(cell.shown)}</b>" if cell.best else escape(cell.shown)
        return f"<td>{shown}{paper}</td>"

    def _sparse_rows(self):
        """(row, labels with repeated leading ones left out, whether a group starts)."""
        before: tuple[str, ...] = ()
        for row in self.rows:
            same = 0
            while same < len(row.labels) - 1 and before[: same + 1] == row.labels[: same + 1]:
                same += 1
            yield row, ("",) * same + row.labels[same:], same < self.groups
            before = row.labels
