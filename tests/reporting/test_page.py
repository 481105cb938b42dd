"""The page: numbers equal the tables, text from data is escaped, nothing is asked of a network, words are weighed."""

import base64
import gzip
import re
from html import unescape
from pathlib import Path

import polars as pl
import pytest
from plotly.offline import get_plotlyjs
from tests.reporting.conftest import HOSTILE, coarse_report
from tests.reporting.fake_results import without_foreground
from tests.reporting.given import one_run

from trustseg.errors import MissingFileError, RunError
from trustseg.reporting import build_report
from trustseg.reporting.tables import number_text

COVER = "Technical evidence to support documentation. Not a conformity assessment. Research use."
WORDS = r"compli|conform|certif|approv|guarant"


def _cells(text: str, table: str) -> list[list[str]]:
    """Return the text of each cell of a table below its head."""
    (found,) = re.findall(rf'<table id="{table}".*?</table>', text, flags=re.DOTALL)
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL) for row in found.split("<tr>")]
    return [[unescape(re.sub(r"<[^>]+>", "", cell)) for cell in row] for row in rows if row]


def _without_scripts(page: Path) -> str:
    return re.sub(r"<script(?: type=\"application/gzip\"[^>]*)?>.*?</script>", "", page.read_text(), flags=re.DOTALL)


@pytest.fixture(scope="module")
def text(page: Path) -> str:
    return _without_scripts(page)


@pytest.mark.parametrize(
    "key", ["summary-masks", "summary-trust", "ranking", "measures", "uncertainty_change", "robustness"]
)
def test_numbers_in_the_page_equal_the_tables(page: Path, text: str, key: str) -> None:
    frame = pl.read_csv(page.parent / "tables" / f"{key.partition('-')[0]}.csv")
    shown = _cells(text, f"table-{key}")
    if key.startswith("summary"):
        own = ("dice", "pooled_dice", "iou", "robust_dice", "worst_dice")
        masks = [name for name in frame.columns if name.removesuffix("_low").removesuffix("_high") in own]
        trust = [name for name in frame.columns if name not in (*masks, "variant", "images")]
        frame = frame.select("variant", *(masks if key == "summary-masks" else trust))
    assert len(shown) == len(frame)
    for row, cells in zip(frame.iter_rows(named=True), shown, strict=True):
        columns = [name for name in row if not name.endswith(("_low", "_high", "_under"))]
        for name, cell in zip(columns, cells, strict=True):
            if row[name] is None or f"{name}_low" not in row:
                assert cell == ("—" if row[name] is None else str(row[name]))
                continue
            digits, signed = 4 if name == "change" else 3, name in ("change", "correlation", "robust_correlation")
            ends = (number_text(row[name + end], digits=digits, signed=signed) for end in ("", "_low", "_high"))
            assert cell == "{} [{}, {}]".format(*ends)


def test_markdown_and_latex_hold_the_same_numbers(page: Path) -> None:
    tables = page.parent / "tables"
    frame = pl.read_csv(tables / "summary.csv")
    first = f"{frame['dice'][0]:.3f} [{frame['dice_low'][0]:.3f}, {frame['dice_high'][0]:.3f}]"
    small = first.replace("[", "<sub>[") + "</sub>"
    assert f"| {frame['variant'][0]} | {small} |" in (tables / "summary.md").read_text()
    latex = (tables / "summary.tex").read_text().replace(r"\textbf", "").replace(r"\scriptsize ", "")
    assert f"{frame['variant'][0]} & {first} &" in latex.replace("{", "").replace("}", "")
    assert "Baselines: classical, random selection; evidential, random selection." in latex


def test_latex_is_ascii_and_balanced(page: Path) -> None:
    for path in page.parent.glob("tables/*.tex"):
        text = path.read_text()
        assert text.isascii(), path.name
        bare = re.sub(r"\\[{}$&%]", "", text)
        assert bare.count("{") == bare.count("}")
        assert bare.count("$") % 2 == 0
        assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 1
        lines = [line for line in bare.splitlines() if line.endswith(r"\\")]
        align = re.findall(r"tabular\}\{([lr]+)\}", text)[0]
        assert {line.count("&") for line in lines} == {len(align) - 1}, path.name


def test_text_from_data_is_escaped_and_folders_are_left_out(page: Path) -> None:
    text = page.read_text()
    assert "<img src=x" not in text
    assert HOSTILE in unescape(text)
    assert "<b>of</b>" not in text
    assert "&lt;b&gt;of&lt;/b&gt;" in text
    assert "path: xrays" in text
    assert "somebody" not in text


def test_nothing_is_asked_of_a_network(page: Path, text: str) -> None:
    addresses = re.findall(r"""(?:src|href|action|srcset)\s*=\s*["']([^"']*)""", text)
    assert len(addresses) > 20
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "@import" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text
    packed = re.findall(r'<script type="application/gzip" id="plotly">([^<]*)</script>', page.read_text())
    assert gzip.decompress(base64.b64decode(packed[0])).decode() == get_plotlyjs()


def test_words_are_weighed(page: Path, text: str) -> None:
    """No claim of conformity anywhere but on the cover line, which is there once; templates and tables alike."""
    assert text.count(COVER) == 1
    others = [path.read_text() for path in page.parent.glob("tables/*.*")]
    for part in (text.replace(COVER, ""), *others):
        assert not re.search(WORDS, re.sub(r"data:[^\"]*", "", part), flags=re.IGNORECASE)


def test_sections_figures_and_their_explanations(text: str) -> None:
    for anchor in re.findall(r"<nav.*?</nav>", text, flags=re.DOTALL)[0].split('href="#')[1:]:
        assert f'<section id="{anchor.split(chr(34))[0]}">' in text
    assert text.count('<div class="panels') == text.count('data-figure="figure-') >= 8
    assert text.count("How to read this.") == text.count('data-figure="figure-') + 1  # and the cases
    assert "vacuity + dissonance" in text
    summary = text.split('<section id="summary">')[1].split("</section>")[0]
    for missing in ("beta-uncertain-fold1-seed1", "not finished", "2 of 24 runs are missing"):
        assert missing in summary


def test_files_beside_the_page_are_whole(page: Path) -> None:
    folder = page.parent
    figures = {path.name for path in (folder / "figures").iterdir()}
    keys = re.findall(r'data-figure="figure-(\w+)"', page.read_text())
    cases = {f"case_{rank}{suffix}" for rank in ("worst", "median", "best") for suffix in (".pdf", ".png")}
    assert figures == cases | {f"{key}{suffix}" for key in keys for suffix in (".pdf", ".png", ".csv")}
    tables = {path.name for path in (folder / "tables").iterdir()} - {"summary.md"}
    assert len(tables) >= 20
    assert tables == {f"{Path(name).stem}{suffix}" for name in tables for suffix in (".csv", ".tex")}
    assert not list(folder.rglob("*.partial"))


@pytest.fixture
def clean_only(tmp_path: Path) -> Path:
    """One variant, one seed, two patients, no attack, no training log: the least a study can hold."""
    folder = one_run(tmp_path / "study", images=3, patients=2, gallery=True)
    for path in folder.glob("cells/*/*.parquet"):
        pl.read_parquet(path).filter(pl.col("condition") == "clean").write_parquet(path)
    for path in [*folder.glob("cells/*/metrics.csv"), *folder.glob("cells/*/provenance.json")]:
        path.unlink()
    return folder


@pytest.mark.usefixtures("undrawn")
def test_the_least_a_study_can_hold(clean_only: Path) -> None:
    output = clean_only.parent / "elsewhere" / "page.html"
    assert build_report(clean_only, gallery=False, output=output, draws=20) == output
    text = output.read_text()
    assert (output.parent / "tables" / "summary.csv").is_file()
    assert 'id="figure-reliability"' in text
    for section in ("robustness", "gallery", "shifts"):
        assert f'id="{section}"' not in text
    assert "Only 2 patients" in text
    assert not (clean_only / "report.html").exists()
    names = {path.stem for path in (output.parent / "tables").iterdir()}
    assert names.isdisjoint({"areas", "worst_case", "trade_off", "undetected_harm", "corruption", "shifts"})


def test_without_a_gallery_no_picture_of_a_patient_is_read(clean_only: Path) -> None:
    """Pictures live in gallery.npz alone; a report that never opens it cannot show one, on the page or beside it."""
    for path in clean_only.glob("cells/*/gallery.npz"):
        path.write_bytes(b"not to be opened")
    (clean_only / "figures").mkdir()
    (clean_only / "figures" / "case_worst.png").write_bytes(b"of an earlier report")
    page = coarse_report(clean_only, draws=5, gallery=False)
    charts = set(re.findall(r'data-figure="figure-(\w+)"', page.read_text()))
    assert charts >= {"reliability", "risk_coverage"}
    figures = {path.name for path in (page.parent / "figures").iterdir()}
    assert figures == {f"{key}.{suffix}" for key in charts for suffix in ("pdf", "png", "csv")}
    assert _without_scripts(page).count("data:image/") == len(charts)


@pytest.mark.usefixtures("undrawn")
def test_all_dice_undefined(clean_only: Path) -> None:
    for path in clean_only.glob("cells/*/records.parquet"):
        without_foreground(pl.read_parquet(path)).write_parquet(path)
    page = build_report(clean_only, draws=20)
    frame = pl.read_csv(page.parent / "tables" / "summary.csv")
    assert frame["dice"].is_nan().all()
    assert frame["aurc"].is_nan().all()
    assert "undefined" in page.read_text()


@pytest.mark.usefixtures("undrawn")
def test_report_that_cannot_be_written(clean_only: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"cannot write the report .*file"):
        build_report(clean_only, output=tmp_path / "file" / "report.html", draws=5)
    with pytest.raises(MissingFileError):
        build_report(tmp_path / "nowhere")


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("path", "generated"), [("null", True), ("phantoms", True), ("films", False)])
def test_generated_images_are_no_pictures_of_patients(
    clean_only: Path, monkeypatch: pytest.MonkeyPatch, path: str, generated: bool
) -> None:
    monkeypatch.chdir(clean_only)
    (clean_only / "phantoms").mkdir()
    (clean_only / "phantoms" / "phantoms.json").write_text("{}")
    for settings in clean_only.glob("cells/*/config.yaml"):
        settings.unlink()
    (clean_only / "study.yaml").write_text(f"name: x\ndata: {{path: {path}}}\n")
    text = build_report(clean_only, draws=5).read_text()
    assert ("They are generated images" in text) == generated
    assert ("They are pictures of patients" in text) == (not generated)
