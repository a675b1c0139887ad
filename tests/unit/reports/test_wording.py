"""Numbers as people read them."""

from __future__ import annotations

import pytest

from rollout_local.reports.wording import number, rounded_numbers, signed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "New subsample score 2.3666666666666667 not better than old score 2.3666666666666667",
            "New subsample score 2.367 not better than old score 2.367",
        ),
        ("from -0.33333333 to 0.25", "from -0.333 to 0.25"),
        ("gpt-4.1-nano at 10.0.0.12345, v1.20240101.3", "gpt-4.1-nano at 10.0.0.12345, v1.20240101.3"),
        ("", ""),
    ],
)
def test_long_numbers_of_other_programs_are_rounded(text: str, shown: str) -> None:
    assert rounded_numbers(text) == shown


@pytest.mark.parametrize("value", [0.2125, 0.21250000000000002, 0.21249999999999997])
def test_a_value_and_what_a_report_keeps_of_it_are_written_alike(value: float) -> None:
    assert (number(value), signed(value), signed(-value)) == ("0.213", "+0.213", "-0.213")


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0004, "<0.001"), (0.0005, "0.001"), (1.0, "1.000"), (12345.5, "12345.500")]
)
def test_a_mean_has_three_decimals(value: float, shown: str) -> None:
    assert number(value) == shown
