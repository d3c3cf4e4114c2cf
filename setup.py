"""Packaging of solo-adv; tool settings live in pyproject.toml."""

import os
import re
from pathlib import Path

from setuptools import find_namespace_packages, find_packages, setup

HERE = Path(__file__).parent
URL = os.environ.get("SOLO_ADV_URL", "")
"""Address of the repository. The release workflow sets it; a copy elsewhere has another one."""


def for_package_index(text: str) -> str:
    """The README for a page where relative links lead nowhere.

    They lead to the repository where its address is known. Otherwise only their text is kept, and
    pictures are left out.
    """
    link = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)]+)\)")

    def absolute(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        if not URL:
            return "" if picture else words
        return f"{picture}[{words}]({URL}/{'raw' if picture else 'blob'}/HEAD/{target})"

    return link.sub(absolute, text)


PARQUET = ["pyarrow>=15"]
NOTEBOOKS = ["jupytext>=1.16", "nbclient>=0.10", "ipykernel>=6"]
DOCS = ["mkdocs>=1.6", "mkdocs-material>=9.6", "mkdocstrings[python]>=0.29"]
ONNX = ["onnx>=1.16", "onnxruntime>=1.17", "onnxscript"]

setup(
    name="solo-adv",
    version="0.1.0",
    description="Adversarial self-supervised learning: a plugin for solo-learn",
    long_description=for_package_index((HERE / "README.md").read_text(encoding="utf-8")),
    long_description_content_type="text/markdown",
    author="The solo-adv developers",
    keywords=["self-supervised learning", "adversarial robustness", "solo-learn", "PyTorch"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: OS Independent",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    **({"url": URL, "project_urls": {"Issues": f"{URL}/issues"}} if URL else {}),
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    packages=[
        *find_packages(include=["solo_adv", "solo_adv.*"]),
        *find_namespace_packages(include=["hydra_plugins"]),
    ],
    package_data={
        "solo_adv": [
            *("py.typed", "conf/**/*.yaml", "paper/*.yaml"),
            *("zoo/*.json", "zoo/models/**/*"),
            *("report/html/*.html", "report/html/*.css", "report/html/*.js"),
        ]
    },
    install_requires=[
        "torch>=2.6",
        "torchvision>=0.21",
        "lightning>=2.5",
        "hydra-core>=1.3.2",
        "omegaconf>=2.3",
        "timm>=1.0.12",
        "scikit-learn>=1.3",
        "numpy>=1.26",
        "scipy>=1.11",
        "pillow>=10",
        "matplotlib>=3.8",
        "rich>=13",
        "jinja2>=3.1",
        "pyautoattack>=0.2,<0.3",
        "safetensors>=0.4",
        "pooch>=1.8",
        "requests>=2.30",
        "huggingface-hub>=0.25",
        "filelock>=3.10",
        "jsonschema>=4.18",
    ],
    extras_require={
        "dali": ["nvidia-dali-cuda130; platform_system == 'Linux'"],
        "tensorboard": ["tensorboard"],
        "wandb": ["wandb"],
        "umap": ["umap-learn>=0.5.6"],
        "onnx": ONNX,
        "parquet": PARQUET,
        "docs": DOCS,
        "dev": [
            "pytest>=8.2",
            "pytest-xdist>=3.6",
            "ruff==0.15.*",
            "mypy>=1.15",
            "build",
            "foolbox>=3.3",
            "hypothesis>=6",
            *ONNX,
            *DOCS,
            *NOTEBOOKS,
            *PARQUET,
        ],
    },
    entry_points={
        "console_scripts": [
            "solo-adv-pretrain=solo_adv.commands.pretrain:main",
            "solo-adv-linear=solo_adv.commands.linear:main",
            "solo-adv-knn=solo_adv.commands.knn:main",
            "solo-adv-umap=solo_adv.commands.umap:main",
            "solo-adv-robust=solo_adv.commands.robust:main",
            "solo-adv-benchmark=solo_adv.benchmark.__main__:main",
            "solo-adv-demo=solo_adv.commands.demo:main",
        ],
        "hydra.plugins": ["solo_adv=hydra_plugins.solo_adv:SoloAdvSearchPath"],
    },
)
