"""BibTeX entries, formatted in one way."""

from __future__ import annotations

__all__ = ["cite"]


def cite(key: str, authors: str, title: str, *, year: int, venue: str | None = None, arxiv: str | None = None) -> str:
    """Return one BibTeX entry: ``@inproceedings`` where there is a venue, ``@article`` on arXiv otherwise.

    >>> print(cite("doe2020loss", "Doe, Jane", "A Loss", year=2020, arxiv="2001.00001"))
    @article{doe2020loss,
      author = {Doe, Jane},
      title = {{A Loss}},
      journal = {arXiv preprint arXiv:2001.00001},
      year = {2020},
      eprint = {2001.00001},
      archivePrefix = {arXiv}
    }
    """
    fields = {"author": authors, "title": "{" + title + "}"}
    if venue:
        fields["booktitle"] = venue
    elif arxiv:
        fields["journal"] = f"arXiv preprint arXiv:{arxiv}"
    fields["year"] = str(year)
    if arxiv:
        fields |= {"eprint": arxiv, "archivePrefix": "arXiv"}
    kind = "inproceedings" if venue else "article" if arxiv else "misc"
    body = ",\n".join(f"  {name} = {{{text}}}" for name, text in fields.items())
    return f"@{kind}{{{key},\n{body}\n}}"
