"""The house's rooms: who may import whom, and what the light ones must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pie_ray"
HEAVY = ("torch", "ray", "mlflow", "pyarrow", "pandas", "pydantic", "matplotlib", "torchvision", "sklearn", "rich")

# What a room may import of ours. Rooms that are not listed (cli, cluster, commands, console, reporting, stages) may
# import anything.
ALLOWED = {
    "errors": {"redaction"},
    "redaction": set(),
    "stats": {"errors"},
    "adaptive": {"stats"},
    "costing": {"config", "identity", "variants"},
    "cluster_file": {"costing", "errors"},
    "planned": {"adaptive", "analysis", "config", "identity"},
    "recorded_costs": {"analysis", "config", "costing", "errors", "identity", "records", "store", "variants"},
    "probing": {
        "compress",
        "config",
        "costing",
        "data",
        "identity",
        "making",
        "prepared",
        "store",
        "suites",
        "training",
        "variants",
        "workplace",
    },
    "config": {"errors"},
    "identity": {"config", "variants"},
    "presets": {"config"},
    "variants": {"config", "errors", "presets"},
    "records": {"config"},
    "checked_yaml": {"errors"},
    "recipe": {"checked_yaml", "config", "errors", "redaction"},
    "progress": {"config", "identity", "records"},
    "data": {"config", "errors"},
    "models": {"config", "errors"},
    "compress": {"config", "errors", "records", "variants"},
    "training": {"config", "errors"},
    "checkpoint": {"errors", "records"},
    "store": {"config", "errors", "identity", "progress", "records", "redaction", "variants"},
    "tracking": {"config", "errors", "progress", "records", "redaction"},
    "report": {"errors"},
    "export": {"errors"},
    "workplace": {"config", "data", "identity", "models", "prepared", "store"},
    "attribution": {
        "compress",
        "config",
        "data",
        "errors",
        "identity",
        "making",
        "stats",
        "store",
        "training",
        "workplace",
    },
    "making": {
        "checkpoint",
        "compress",
        "config",
        "errors",
        "identity",
        "records",
        "saved_states",
        "store",
        "training",
        "variants",
        "workplace",
    },
    "saved_states": {"config", "errors", "identity", "store", "training"},
    "teamwork": {
        "config",
        "data",
        "errors",
        "identity",
        "making",
        "saved_states",
        "store",
        "training",
        "workplace",
    },
    "packing": {
        "checkpoint",
        "compress",
        "config",
        "errors",
        "identity",
        "making",
        "training",
        "variants",
        "workplace",
    },
    "member": {
        "checkpoint",
        "data",
        "identity",
        "making",
        "records",
        "saved_states",
        "store",
        "suites",
        "teamwork",
        "training",
        "workplace",
        "errors",
        "packing",
    },
    "loaded": {"analysis", "config", "errors", "export", "stats", "store"},
    "analysis": {"adaptive", "config", "errors", "identity", "recipe", "records", "stats", "store", "variants"},
    "latency": {"analysis", "errors", "identity", "making", "models", "records", "store", "training", "variants"},
    "live": {"analysis", "errors", "identity", "progress", "records", "redaction", "store", "tracking"},
    "gate": {"analysis", "checked_yaml", "config", "errors", "report", "stats", "variants"},
    "packaged": {
        "checkpoint",
        "config",
        "data",
        "errors",
        "identity",
        "making",
        "models",
        "recipe",
        "records",
        "store",
        "tracking",
        "training",
    },
    "portable": {
        "checkpoint",
        "compress",
        "config",
        "errors",
        "onnx_runtime",
        "packaged",
        "recipe",
        "records",
        "stats",
        "training",
    },
    "exporting": {
        "analysis",
        "config",
        "data",
        "errors",
        "identity",
        "making",
        "models",
        "packaged",
        "portable",
        "records",
        "store",
    },
    "prepared": {"config", "data", "errors", "store"},
    "study": {"attribution", "config", "data", "errors", "identity", "models", "recipe", "store"},
    "suites": {"config"},
    "onnx_runtime": {"errors"},
    "auditing": {
        "analysis",
        "checked_yaml",
        "checkpoint",
        "config",
        "data",
        "errors",
        "identity",
        "making",
        "member",
        "models",
        "onnx_runtime",
        "prepared",
        "recipe",
        "store",
        "training",
        "variants",
        "workplace",
    },
}
HOMES = {
    "onnx": {"portable"},
    "ray": {"cluster"},
    "mlflow": {"tracking"},
    "matplotlib": {"report"},
    "imagecorruptions": {"data"},
    "captum": {"attribution"},
    "onnxruntime": {"onnx_runtime"},
    "cv2": {"data"},
    "skimage": {"data"},
    "torch_pruning": {"compress"},
    "torch": {
        "attribution",
        "auditing",
        "data",
        "models",
        "compress",
        "training",
        "checkpoint",
        "exporting",
        "latency",
        "making",
        "member",
        "packaged",
        "packing",
        "portable",
        "prepared",
        "probing",
        "saved_states",
        "study",
        "teamwork",
        "workplace",
        "cluster",
    },
    "rich": {"attribution_stage", "audits", "cli", "commands", "console", "reporting", "rounds", "stages"},
}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, wherever the import stands."""
    package = ["pie_ray", *path.relative_to(PACKAGE).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == "pie_ray" else {module}
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_it_may(path):
    own = room(path)
    if own not in ALLOWED:
        return
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("pie_ray.")} - {own, "__version__"}
    assert ours <= ALLOWED[own], f"{own} imports {ours - ALLOWED[own]}"


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_library_has_one_home(library):
    users = {room(path) for path in FILES if any(name.split(".")[0] == library for name in imports(path))}
    assert users, f"nothing imports {library}: has it moved?"
    assert users <= HOMES[library]


def loaded_by(statement: str) -> set[str]:
    script = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_statistics_load_numpy_and_scipy_only():
    assert not loaded_by("import pie_ray, pie_ray.stats") & set(HEAVY)


def test_a_mistaken_recipe_is_told_without_loading_torch_or_ray():
    heavy = {"torch", "ray", "mlflow", "pyarrow", "matplotlib"}
    assert not loaded_by("import pie_ray.cli, pie_ray.recipe, pie_ray.identity") & heavy


def test_predictions_from_elsewhere_need_no_torch_ray_or_mlflow():
    modules = "pie_ray.analysis, pie_ray.commands.analysis, pie_ray.cli, pie_ray.console, pie_ray.reporting"
    heavy = {"torch", "ray", "mlflow", "torchvision", "sklearn"}
    assert not loaded_by(f"import {modules}, pie_ray.report.page") & heavy


def test_tracking_does_not_load_mlflow_before_it_is_used():
    assert "mlflow" not in loaded_by("import pie_ray.tracking")


def test_the_check_itself_can_fail():
    assert "pydantic" in loaded_by("import pie_ray.config")
