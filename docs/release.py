"""Write the data file of this version's catalogue, which later versions need to verify its reports.

Run it once for each release: ``python -m docs.release``.
"""

from __future__ import annotations

from pytest_fsmredir import layout
from pytest_fsmredir.report.known import FOLDER, data_file, present

if __name__ == "__main__":
    folder = layout.fixtures() / FOLDER
    folder.mkdir(exist_ok=True)
    (folder / f"{present().version}.json").write_text(data_file(present()), encoding="utf-8")
