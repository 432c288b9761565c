"""The one base of errors that are meant for a person."""


class FacefusionError(Exception):
    """Something a person can mend; the text is one line that says what is wrong and what to do."""
