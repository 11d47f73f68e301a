"""Put the methods' settings files into a built package, where the library finds its presets.

All else is in pyproject.toml. An editable install reads configs/methods itself.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class WithPresets(build_py):
    """`build_py`, and configs/methods as unlearning/presets."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "unlearning", "presets")
            shutil.copytree("configs/methods", target, dirs_exist_ok=True)


setup(cmdclass={"build_py": WithPresets})
