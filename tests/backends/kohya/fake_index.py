"""A package index in a folder, with wheels that hold next to nothing: what pip needs for sd-scripts' stand-in."""

import zipfile
from pathlib import Path

# Package, version, its module and what is in that.
_PYPI = (
    ("accelerate", "1.6.0", "accelerate", "def main():\n    pass\n"),
    ("transformers", "4.54.1", "transformers", ""),
    ("diffusers", "0.32.1", "diffusers", ""),
    ("voluptuous", "0.15.2", "voluptuous", ""),
    ("toml", "0.10.2", "toml", ""),
    ("imagesize", "1.4.1", "imagesize", ""),
    ("opencv-python", "4.10.0.84", "cv2", ""),
    ("einops", "0.7.0", "einops", ""),
)
_TORCH = "__version__ = '2.6.0+cpu'\n\n\nclass cuda:\n    @staticmethod\n    def device_count():\n        return 0\n"
REQUIREMENTS = "".join(f"{name}=={version}\n" for name, version, *_ in _PYPI)


def write_index(folder: Path) -> tuple[str, str]:
    """Fill `folder`; the URLs of what stands for PyPI and for PyTorch's index."""
    for name, version, module, text in _PYPI:
        _wheel(folder / "pypi" / name, name, version, module, text, command=name == "accelerate")
    for name, version, text in (("torch", "2.6.0+cpu", _TORCH), ("torchvision", "0.21.0+cpu", "")):
        _wheel(folder / "torch/cpu" / name, name, version, name, text)
    return (folder / "pypi").as_uri(), (folder / "torch").as_uri()


def _wheel(folder: Path, name: str, version: str, module: str, text: str, *, command: bool = False) -> None:
    folder.mkdir(parents=True)
    stem = f"{name.replace('-', '_')}-{version}"
    files = {
        f"{module}.py": text,
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if command:
        files[f"{stem}.dist-info/entry_points.txt"] = f"[console_scripts]\n{name} = {module}:main\n"
    record = "".join(f"{path},,\n" for path in files)
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for path, content in {**files, f"{stem}.dist-info/RECORD": record}.items():
            wheel.writestr(path, content)
    href = f"{stem}-py3-none-any.whl".replace("+", "%2B")
    (folder / "index.html").write_text(f'<a href="{href}">{stem}-py3-none-any.whl</a>\n', encoding="utf-8")
