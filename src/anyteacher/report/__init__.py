"""Results as one self-contained HTML page, and as tables in the terminal.

>>> table = Table(columns=["student", "AbsRel"], rows=[["alone", 0.213], ["inverted", 0.198]])
>>> page = Page("Depth", "Two students.", [Section("Results", "", [table])])
>>> "<td>0.198</td>" in page.html()
True
"""

from anyteacher.report.bars import BarChart, Bars
from anyteacher.report.blocks import Block, Facts, Pictures, Scale, Table, png
from anyteacher.report.differences import Difference, DifferenceMatrix
from anyteacher.report.heatmap import HeatMap, Panel
from anyteacher.report.intervals import Interval, IntervalChart
from anyteacher.report.lines import LineChart, Series
from anyteacher.report.machine import machine_facts, usable_cores
from anyteacher.report.matrix import Matrix
from anyteacher.report.page import Page, Section, write_page
from anyteacher.report.terminal import print_table, say

__all__ = [
    "BarChart",
    "Bars",
    "Block",
    "Difference",
    "DifferenceMatrix",
    "Facts",
    "HeatMap",
    "Interval",
    "IntervalChart",
    "LineChart",
    "Matrix",
    "Page",
    "Panel",
    "Pictures",
    "Scale",
    "Section",
    "Series",
    "Table",
    "machine_facts",
    "png",
    "print_table",
    "say",
    "usable_cores",
    "write_page",
]
