"""ONNX export, parity, the bundle, and promotion gates."""

from evenodd.release.bench import FULL, SHORT, latency_p50_ms, latency_table, pareto_points, plot_pareto
from evenodd.release.bundle import BundleContents, write_bundle
from evenodd.release.checked import Checked, measure_checked
from evenodd.release.export import Graphs, export_graphs
from evenodd.release.gates import Gate, Move, audit_entry, check_gates

__all__ = [
    "FULL",
    "SHORT",
    "BundleContents",
    "Checked",
    "Gate",
    "Graphs",
    "Move",
    "audit_entry",
    "check_gates",
    "export_graphs",
    "latency_p50_ms",
    "latency_table",
    "measure_checked",
    "pareto_points",
    "plot_pareto",
    "write_bundle",
]
