"""A folder holds one study: what would orphan finished cells is refused, and leaves everything as it was."""

from pathlib import Path

import pytest
from tests.study.small import written

from trustseg.errors import ConfigError, DataError
from trustseg.files import write_json
from trustseg.study.folder import require_kept
from trustseg.study.runner import prepare_study


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_settings_that_orphan_finished_cells_are_refused(tmp_path: Path) -> None:
    config, folder = written(tmp_path), tmp_path / "run"
    names = prepare_study(config, folder)
    other = written(tmp_path, "training.learning_rate=0.5")
    prepare_study(other, folder)  # nothing is lost yet
    prepare_study(config, folder)
    write_json(folder / "cells" / names[1] / "done.json", {})
    before = files_of(folder)
    with pytest.raises(ConfigError, match=rf"1 of its 1 cells.*{names[1]}.*training\.learning_rate.*--output"):
        prepare_study(other, folder)
    assert files_of(folder) == before
    assert prepare_study(config, folder) == names
    more = written(tmp_path, "grid.training.seed=[0, 1]")
    assert set(names) < set(prepare_study(more, folder))
    with pytest.raises(ConfigError, match=r"adversarial\.selection"):
        prepare_study(written(tmp_path, "grid.adversarial.selection=[none]"), folder)
    with pytest.raises(ConfigError, match=r"data\.path"):
        require_kept(written(tmp_path, "data.path=null"), folder)


@pytest.mark.parametrize(("name", "content"), [("plan.json", "{}"), ("plan.json", "["), ("study.yaml", "a: [")])
def test_a_damaged_plan_is_named(tmp_path: Path, name: str, content: str) -> None:
    config, folder = written(tmp_path), tmp_path / "run"
    first, _ = prepare_study(config, folder)
    write_json(folder / "cells" / first / "done.json", {})
    (folder / name).write_text(content)
    with pytest.raises(DataError, match=name.replace(".", r"\.")):
        prepare_study(written(tmp_path, "training.learning_rate=0.5"), folder)
