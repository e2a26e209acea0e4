"""The fixture `gradcheck` for pytest, in every project whose environment has npstyle.

    def test_my_loss(gradcheck):
        gradcheck(my_loss, my_loss_backward, x)

pytest loads this file in every run, so it imports NumPy and the laboratory only when a test asks
for the fixture.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from npstyle.lab.gradcheck import Report


@pytest.fixture
def gradcheck() -> "Callable[..., Report]":
    """Check a derivative numerically: `gradcheck(function, backward, *inputs, **options)`.

    The options are those of `npstyle.check_gradient`. The test fails with the report if a
    derivative is wrong.
    """
    from npstyle.lab.gradcheck import check_gradient
    from npstyle.lab.summary import reports_text

    def check(
        function: Callable[..., Any],
        backward: Callable[..., Any] | None,
        *inputs: Any,
        **options: Any,
    ) -> "Report":
        __tracebackhide__ = True
        options.setdefault("name", getattr(function, "__name__", "function"))
        report = check_gradient(function, backward, inputs, **options)
        if not report.passed:
            pytest.fail(f"a derivative is wrong\n{reports_text([report])}")
        return report

    return check
