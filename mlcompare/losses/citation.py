"""BibTeX entries, formatted in one way, and whose optima many losses quote."""

from __future__ import annotations

from functools import partial

from mlcompare.registry import Published

__all__ = ["cite", "reality_check"]

reality_check = partial(Published, "Musgrave et al. 2020, arXiv:2003.08505")  # an optimum of theirs


def cite(
    key: str,
    authors: str,
    title: str,
    *,
    year: int,
    venue: str | None = None,
    journal: str | None = None,
    arxiv: str | None = None,
) -> str:
    """Return one BibTeX entry: ``@inproceedings`` with a ``venue`` (proceedings), else ``@article``, or ``@misc``.

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
    journal = journal or (f"arXiv preprint arXiv:{arxiv}" if arxiv and not venue else None)
    if venue:
        fields["booktitle"] = venue
    if journal:
        fields["journal"] = journal
    fields["year"] = str(year)
    if arxiv:
        fields |= {"eprint": arxiv, "archivePrefix": "arXiv"}
    kind = "inproceedings" if venue else "article" if journal else "misc"
    body = ",\n".join(f"  {name} = {{{text}}}" for name, text in fields.items())
    return f"@{kind}{{{key},\n{body}\n}}"
