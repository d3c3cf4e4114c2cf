"""Writing a report: the JSON, the Markdown page, the picture and the head that was judged."""

import json
from pathlib import Path

from safetensors.torch import save

from solo_adv.report.markdown import page
from solo_adv.report.record import Report
from solo_adv.support.errors import UserError
from solo_adv.support.files import write_whole

HEAD_FILE = "head.safetensors"


def write_report(report: Report, directory: str | Path) -> dict[str, Path]:
    """Write ``report.json``, ``.md`` and ``.png`` and ``head.safetensors`` into ``directory``.

    The directory is made if need be. Each file appears whole or not at all, the JSON last.

    Returns:
        The paths by kind: ``head`` (unless the encoder was fine-tuned), ``png``, ``md``,
        ``json``.

    Raises:
        UserError: the directory cannot be written to.
    """
    from solo_adv.report.picture import draw  # noqa: PLC0415  matplotlib is slow to load

    content = {} if report.head_state is None else {"head": save(report.head_state)}
    content |= {
        "png": draw(report),
        "md": page(report).encode(),
        "json": (json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n").encode(),
    }
    directory = Path(directory)
    paths = {
        kind: directory / (HEAD_FILE if kind == "head" else f"report.{kind}") for kind in content
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for kind, path in paths.items():
            write_whole(path, content[kind])
    except OSError as error:
        raise UserError(
            f"Cannot write the report into '{directory}' ({error.strerror}). "
            "Choose another directory."
        ) from error
    return paths
