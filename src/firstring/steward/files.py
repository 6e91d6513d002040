"""The text files that commands are given."""

from __future__ import annotations

from pathlib import Path

from firstring.errors import BadInput


def texts_of(files: list[Path]) -> list[tuple[str, str]]:
    """(file, text) of files. Raises BadInput file_missing, file_unreadable."""
    found = []
    for file in files:
        try:
            found.append((str(file), file.read_text("utf-8")))
        except FileNotFoundError:
            raise BadInput("file_missing", "There is no such file.", where={"file": str(file)}, http_status=404) from None
        except (OSError, UnicodeDecodeError) as error:
            hint = "It is text in UTF-8 that this user may read."
            raise BadInput("file_unreadable", "The file cannot be read.", where={"file": str(file)}, hint=hint) from error
    return found
