"""Reads a page with the parser of the standard library and checks that it is well formed."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(HTMLParser):
    """The tags, texts and tables of a page.

    Raises:
        AssertionError: a tag is not closed in order, or an id is not unique.
    """

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self.rows = [], [], []
        self._open = []
        self.feed(text)
        self.close()
        assert self._open == []
        ids = [given["id"] for _, given in self.tags if "id" in given]
        assert len(ids) == len(set(ids))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if {"th", "td"} & set(self._open):
            self.rows[-1][-1] += data

    @property
    def text(self):
        """All text of the page, with single blanks."""
        return " ".join(" ".join(self.texts).split())

    def all(self, tag):
        """The attributes of every tag of a kind."""
        return [given for name, given in self.tags if name == tag]

    def links(self):
        """The values of every attribute that a browser would load or follow."""
        kinds = ("src", "href", "action", "data", "srcset", "poster")
        return [given[kind] for _, given in self.tags for kind in kinds if given.get(kind)]
