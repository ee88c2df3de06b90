from dataclasses import replace

import torch

from anyteacher.findings.arms import Arm
from anyteacher.findings.tables import seeds_tables


def test_the_table_has_a_row_a_seed_and_leaves_out_what_is_nowhere(finding, analysis, measured):
    def arm(*analyses):
        return Arm("a", tuple(finding(seed=s, analysis=a) for s, a in enumerate(analyses)))

    (table,) = seeds_tables(arm(analysis(), analysis(measured(cka=0.5))))
    assert table.columns == ["seed", "weight", "student's rank", "CKA", "dropped", "recovered"]
    assert [row[0] for row in table.rows] == ["0", "1"]
    assert [row[3] for row in table.rows] == ["0.250", "0.500"]
    assert table.rows[0][4:] == ["2 of 4 (40.0 %)", "62.5 %"]
    energies = torch.tensor([4.0, 2.0, 1.0]) / 7
    rank = torch.exp(-(energies * energies.log()).sum())
    assert table.rows[0][2] == f"{rank:.1f}"
    (two,) = seeds_tables(arm(analysis(measured("x"), measured("y"))))
    assert [row[0] for row in two.rows] == ["x, 0", "y, 0"]


def test_the_table_says_what_a_regulariser_leaves_free(finding, analysis, measured):
    alone = {"teacher": None, "projected": None, "cka": None, "directions": None}
    link = measured(regularizer="TrailingEnergy(8 channels, 4 free)", **alone)

    def shown(*links, **options):
        return seeds_tables(Arm("a", (finding(analysis=analysis(*links), **options),)))

    (table,) = shown(link)
    assert table.columns == ["seed", "regulariser", "weight", "student's rank"]
    assert table.rows[0][1] == "TrailingEnergy(8 channels, 4 free)"
    assert "found anew in every batch" in table.note
    other = replace(link, regularizer="NuclearNorm(8 channels)")
    assert "found anew" not in shown(other)[0].note
    assert shown(link, linked=False)[0].columns == ["seed", "student's rank"]
    taught, alone = shown(measured("x"), link)
    assert [row[0] for row in taught.rows] == ["x, 0"]
    assert "regulariser" not in taught.columns
    assert (alone.columns, alone.rows[0][0]) == (["link and seed", *table.columns[1:]], "a<-b, 0")
