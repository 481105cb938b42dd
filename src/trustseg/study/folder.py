"""The folder of a study: where its generated images lie, its plan, and whether a study may go on there."""

from pathlib import Path

import yaml

from trustseg.config import StudyConfig, open_images
from trustseg.config.keys import flattened
from trustseg.errors import ConfigError, DataError
from trustseg.run_files import StudyPlan, read_checked
from trustseg.study.grid import Cell, cells_of
from trustseg.text import first_of

__all__ = ["cells_in", "data_folder", "is_done", "phantom_folder", "planned_cells", "require_kept"]


def phantom_folder(config: StudyConfig, folder: Path) -> Path:
    """Return where the generated dataset of a study that names no data lies, or will lie, in the study's folder."""
    wanted = config.phantoms
    return folder / f"phantoms_{config.data.size}px_{wanted.train}_{wanted.test}_{wanted.control}_seed{wanted.seed}"


def data_folder(config: StudyConfig, folder: Path) -> Path:
    """Return where the images of a study lie, or will lie."""
    return phantom_folder(config, folder) if config.data.path is None else Path(config.data.path)


def is_done(cell: Path) -> bool:
    """Return whether a cell's results are complete."""
    return (cell / "done.json").exists()


def cells_in(config: StudyConfig, folder: Path) -> list[Cell]:
    """Return the cells of a study by the names that they have, or will have, in its folder."""
    path = data_folder(config, folder)
    digest = ""  # phantoms that are not drawn yet are none that a cell was trained on
    if config.data.path is not None or path.exists():
        digest = open_images(config.data, path=path).digest
    return cells_of(config, data_digest=digest)


def require_kept(config: StudyConfig, folder: Path) -> None:
    """Check that a study may go on in a folder: that no cell which was begun there leaves it.

    Raises:
        ConfigError: if cells that hold results would no longer belong to the study.
        DataError: if the data, or what the folder says of its study, cannot be read.
    """
    begun = [name for name in planned_cells(folder) if _is_begun(folder / "cells" / name)]
    if not begun:
        return
    staying = {cell.name for cell in cells_in(config, folder)}
    leaving = [name for name in begun if name not in staying]
    if leaving:
        done = sum(is_done(folder / "cells" / name) for name in leaving)
        raise ConfigError(
            f"'{folder}' holds another study: {len(leaving)} of its {len(begun)} cells with results ({done} of them "
            f"finished) would be dropped, first {leaving[0]}; {_changed(config, folder)}. Give another --output, "
            "or use the settings in its study.yaml to resume it"
        )


def _changed(config: StudyConfig, folder: Path) -> str:
    """Return in words what a study and the one in a folder differ in."""
    file = folder / "study.yaml"
    try:
        former = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f"'{file}' cannot be read ({str(error).splitlines()[0]}); restore it from the study") from error
    now, then = flattened(config.model_dump(mode="json")), flattened(former if isinstance(former, dict) else {})
    keys = [key for key in {**then, **now} if then.get(key) != now.get(key)]
    words = [f"{key} was {then.get(key)} and is {now.get(key)}" for key in keys]
    return first_of(words, joint="; ") if words else "the images or the version of trustseg are others"


def planned_cells(folder: Path) -> list[str]:
    """Return the names of the cells in a study's plan; none where there is no plan yet.

    Raises:
        DataError: if the plan is damaged.
    """
    if not (folder / "plan.json").is_file():
        return []
    names = read_checked(folder / "plan.json", StudyPlan).cells
    if names is None:
        raise DataError(f"'{folder / 'plan.json'}' names no cells; restore it from the study")
    return names


def _is_begun(cell: Path) -> bool:
    return is_done(cell) or (cell / "progress.json").is_file() or (cell / "metrics.csv").is_file()
