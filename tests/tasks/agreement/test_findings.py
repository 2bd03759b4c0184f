"""What is said of techniques that disagree or fail: one sentence each, and not a page of them."""

from __future__ import annotations

from tasks.agreement import findings
from tasks.agreement.compare import Disagreement
from tasks.agreement.quality import Failing


def apart(a: str, b: str, worth: float, output: str | None = "yes") -> Disagreement:
    return Disagreement(a, b, output, 1200, worth, 0.6, 3, (("age", 1.0, 4.5), ("sex", 7.0, 2.0)))


def test_a_pair_is_told_once_about_the_output_on_which_it_agrees_least() -> None:
    (found,) = findings.disagreements([apart("a", "b", 0.4), apart("a", "b", 0.1, "no"), apart("a", "b", 0.3, "so")])
    assert found.text == (
        "a and b disagree on which features speak for no: over 1,200 rows their rank correlation is 0.10 on average and"
        " they share 60 % of the 3 largest features. They differ most on age (rank 1.0 by a, 4.5 by b), sex (rank 7.0"
        " by a, 2.0 by b). They disagree for 2 more outputs."
    )
    (decided,) = findings.disagreements([Disagreement("a", "b", None, 9, 0.2)])
    assert decided.text == (
        "a and b disagree on where in the image the evidence lies for the decided class of each row: over 9 rows their"
        " rank correlation is 0.20 on average."
    )


def test_of_many_pairs_the_worst_are_told() -> None:
    names = "abcdefgh"
    every = [apart(names[i], names[i + 1], 0.45 - i / 20) for i in range(7)]
    told = list(findings.disagreements(every))
    assert [f.text[:7] for f in told[:-1]] == ["g and h", "f and g", "e and f", "d and e"]
    assert (told[-1].code, told[-1].text) == (
        "more_techniques_disagree", "3 more pairs of techniques disagree, less than these.",
    )  # fmt: skip
    assert len(list(findings.disagreements(every[:5]))) == 5  # one more needs no summary of one


def test_why_a_technique_fails() -> None:
    measure = "insertion_minus_deletion"
    blind = Failing("x", "yes", "no_better_than_random", measure, 0.01, 0.02, 40, (-0.01, -0.05, 0.03), 1.0)
    assert findings.failure(blind).text == (
        "x is no better than a random attribution for yes: insertion minus deletion 0.01 against 0.02 over 40 rows"
        " (better by -0.01, interval -0.05 to 0.03)."
    )
    same = Failing("x", None, "unchanged_by_randomisation", "parameter_randomisation", 0.97, 0.2, 8)
    found = findings.failure(same)
    assert found.text == (
        "x explains a model of random weights as it explains this one: the rank correlation of the two is 0.97 on"
        " average over 8 rows."
    )
    assert (found.severity, found.code, found.evidence) == (
        "warning", "unchanged_by_randomisation", "explanation_quality",
    )  # fmt: skip
    assert findings.failing_fact(same)["reason"] == "unchanged_by_randomisation"
