"""Printing fails in no locale."""

import io
import sys

import pytest

from solo_adv.support.cli import user_errors

TEXT = "Größe 猫: ±1, trained_models/r\udcc3\udca9sultats"


@pytest.mark.parametrize(
    ("locale", "printed"),
    [
        ("ascii", "Gr??e ?: ?1, trained_models/résultats".encode()),
        ("latin-1", "Größe ?: ±1, ".encode("latin-1") + "trained_models/résultats".encode()),
        ("gbk", "Gr??e 猫: ±1, ".encode("gbk") + "trained_models/résultats".encode()),
        ("utf-8", "Größe 猫: ±1, trained_models/résultats".encode()),
    ],
)
def test_what_a_locale_cannot_show_does_not_stop_a_command(monkeypatch, locale, printed):
    out = io.TextIOWrapper(io.BytesIO(), encoding=locale)
    monkeypatch.setattr(sys, "stdout", out)
    with user_errors():
        print(TEXT)
    out.flush()
    assert out.buffer.getvalue() == printed + b"\n"
