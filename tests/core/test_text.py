"""What strangers name cannot steer a terminal."""
import pytest

from ghost_ms.core.text import printable


@pytest.mark.parametrize("text, shown", [
    ("cat.jpg", "cat.jpg"), ("Kätzchen 猫", "Kätzchen 猫"), ("\x1b[2J", "\\x1b[2J"), ("a\nb\r", "a\\x0ab\\x0d"),
    ("\x9b31m", "\\x9b31m"), ("\u202egpj.exe", "\\u202egpj.exe"), ("\udcff", "\\udcff"),
    ("\u2028", "\\u2028"), (7, "7")])
def test_control_characters_are_spelled_out(text, shown):
    assert printable(text) == shown


def test_line_breaks_stay_where_they_are_asked_for():
    assert printable("a\n\x1bb", lines=True) == "a\n\\x1bb"
