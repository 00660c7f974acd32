"""What others say, for messages of ours."""


def in_one_line(said: object) -> str:
    """The words of an error or a warning, which a library may have spread over several lines."""
    return " ".join(str(said).split())
