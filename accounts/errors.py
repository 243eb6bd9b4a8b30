"""An anticipated no."""

from __future__ import annotations


class Refused(Exception):
    """Something may not or cannot be done; a person may read the text, a program the code.

    Subclasses are defined where they are raised and carry their ``code``. Pages show the text, the API
    answers 409 with code and text. Anything else that escapes is a defect and keeps its traceback.
    """

    code = "refused"

    def __init__(self, text: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.field = field
        if code is not None:
            self.code = code
