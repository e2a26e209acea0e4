r"""The formulas of the docstrings, from the notation that a terminal shows to LaTeX and MathML.

A docstring writes a formula as plain text, such as `Z = b + sum_{i, j}  W_ij K_ij`. Its notation is
close to LaTeX, and this module translates the rest:

====================================  =============================================
notation                              meaning
====================================  =============================================
`x_i`, `W_ij`, `X_(l-1)`, `k_{i, j}`  a subscript: letters and digits, or a bracket
`x^2`, `D^(-1)`, `F^T`, `s'`          a superscript, a transpose, a prime
`a / b`, `1/(2 N)`                    a fraction of the two operands next to the stroke
`dL/dX[u, v]`                         a partial derivative
`sum_k`, `max_{i, j}`                 a sum or a maximum, with what it runs over
`sqrt(v)`, `|r|`, `exp(-Z)`           a root, an absolute value, a function
`theta`, `beta_1`                     a Greek letter
`N x M`                               a size
a word of two or more letters         text
two spaces, three or more             a small gap, a gap between two formulas
====================================  =============================================
"""

import re
from dataclasses import dataclass

GREEK = frozenset(
    ("alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "pi", "sigma", "phi")
)

FUNCTIONS = frozenset(("exp", "cos", "tanh", "max", "min"))
"""Functions that LaTeX has a command for."""

OPERATORS = frozenset(
    ("mean", "sign", "round", "floor", "clip", "mirror", "diag", "vec", "layer", "log")
)
"""Names that stand for functions where a bracket or a subscript follows."""

SHORT_WORDS = frozenset(("of", "in", "is", "to", "at", "if", "by", "or", "on", "as", "it"))

OPERANDS = frozenset(("height", "width"))
"""Words that stand for numbers."""

RELATIONS = {">=": r"\ge", "<=": r"\le", "->": r"\to", "...": r"\dots", "*": r"\ast", "<": r"\lt",
             ">": r"\gt", ":": r"\colon", "%": r"\%"}  # fmt: skip

PRIME = re.compile(r"<msup>((?:(?!<msup>).)*?)<mi>&#x02032;</mi></msup>")
"""A prime as a superscript. The sign is raised already, so a browser raises it twice."""

TOKEN = re.compile(r"\d+(?:\.\d+)?|[A-Za-z]{3,}'s|[A-Za-z]+|\.\.\.|>=|<=|->| +|.")

TIMES = re.compile(r"(?<=\S )x(?= [A-Za-z0-9])|(?<=\()x(?=: )|(?<=\d)x(?=\d)")
"""An x that multiplies: between two operands, or where a remark explains the sign."""

ALIGNMENT = re.compile(r" +(?==)")
"""Spaces that align the signs = of several lines in a terminal."""

GAP = re.compile(r" {3,}(?![ =])")
"""What separates two formulas on one line."""

CLOSING = {"(": ")", "[": "]", "{": "}", "|": "|"}


class FormulaError(ValueError):
    """A formula that is not in the notation."""


@dataclass
class Part:
    """A piece of a formula.

    Attributes
    ----------
    latex : str
    kind : "operand", "operator", "word", "open" or "space"
    bare : str, optional
        The same without its brackets, for the two sides of a fraction.
    differential : str
        What follows the d in dX; empty for anything else.
    """

    latex: str
    kind: str
    bare: str | None = None
    differential: str = ""


def to_latex(formula: str, flat: bool = False) -> str:
    """Translate one formula.

    Parameters
    ----------
    formula : str
    flat : bool
        Write fractions on one line, as in a sentence.

    Raises
    ------
    FormulaError
        If a bracket is not closed, or an operand is missing.
    """
    aligned = ALIGNMENT.sub(" ", TIMES.sub("×", formula.strip()))
    reader = _Reader(TOKEN.findall(aligned), flat)
    latex = reader.sequence("")
    if reader.peek():
        raise FormulaError(f"{formula}: {reader.peek()} closes nothing")
    return latex


def to_mathml(formula: str, display: bool = True) -> str:
    """Return a line of formulas as MathML, which carries the LaTeX as annotations.

    A browser does not break a formula into lines. Therefore what a gap separates stands in elements
    of its own, and these may follow each other on several lines.
    """
    return " ".join(_element(piece, display) for piece in GAP.split(formula.strip()))


def _element(formula: str, display: bool) -> str:
    """Return one formula as an element of MathML."""
    from html import escape

    from latex2mathml.converter import convert

    latex = to_latex(formula, flat=not display)
    made = convert(latex, display="block" if display else "inline")
    start = made.index(">") + 1
    made = PRIME.sub(r'<mrow>\1<mo lspace="0" rspace="0">&#x02032;</mo></mrow>', made)
    inner, end = made[start : -len("</math>")], escape(latex, quote=False)
    note = f'<annotation encoding="application/x-tex">{end}</annotation>'
    return f"{made[:start]}<semantics>{inner}{note}</semantics></math>"


class _Reader:
    """Reads the tokens of a formula from left to right."""

    def __init__(self, tokens: list[str], flat: bool) -> None:
        self.tokens, self.at, self.flat = tokens, 0, flat

    def peek(self, ahead: int = 0) -> str:
        """The next token, or "" at the end."""
        place = self.at + ahead
        return self.tokens[place] if place < len(self.tokens) else ""

    def take(self) -> str:
        """The next token, which is then read."""
        self.at += 1
        return self.tokens[self.at - 1]

    def sequence(self, closing: str) -> str:
        """Translate up to a closing bracket, which is left for the caller."""
        parts: list[Part] = []
        while self.peek() and self.peek() != closing:
            if self.peek() in (")", "]", "}"):
                break
            parts.append(self.part())
            while self.peek().strip() == "/" or (
                self.peek().isspace() and self.peek(1) == "/" and parts[-1].kind != "space"
            ):
                parts.append(self.fraction(parts.pop()))
        return _joined(parts)

    def fraction(self, over: Part) -> Part:
        """Read the stroke and what is below it."""
        while self.peek().isspace() or self.peek() == "/":
            self.take()
        if not self.peek():
            raise FormulaError("nothing below a fraction stroke")
        under = self.part()
        if over.differential and under.differential:
            top, bottom = rf"\partial {over.differential}", rf"\partial {under.differential}"
        elif self.flat:
            top, bottom = over.latex, under.latex
        else:
            top, bottom = over.bare or over.latex, under.bare or under.latex
        if self.flat:
            return Part(f"{top} / {bottom}", "operand")
        return Part(rf"\frac{{{top}}}{{{bottom}}}", "operand")

    def part(self) -> Part:
        """Read one operand, operator, word or gap."""
        token = self.take()
        if token.isspace():
            return Part("" if len(token) == 1 else r"\;", "space")
        if token.endswith("'s"):
            return Part(token, "word")
        if token.isalpha() and token.isascii():
            return self.name(token)
        if token[0].isdigit():
            return self.scripts(Part(token, "operand"))
        if token in ("(", "[", "|"):
            return self.group(token)
        if token == "×":
            return Part(r"\times ", "operator")
        if token == "~":
            return Part(r"\sim ", "operator")
        return Part(RELATIONS.get(token, token) + " ", "operator")

    def name(self, name: str) -> Part:
        """Read a variable, a function or a word."""
        follows = self.peek()
        if name == "sqrt" and follows == "(":
            self.take()
            return self.scripts(Part(rf"\sqrt{{{self.closed('(')}}}", "operand"))
        if name == "sum" and not (follows == " " and self.peek(1) in ("of", "over")):
            return self.scripts(Part(r"\sum", "open"))
        if name in FUNCTIONS and follows in ("(", "_", "^"):
            return self.scripts(Part(rf"\{name}", "open"), call=True)
        if name in OPERATORS and follows in ("(", "_"):
            return self.scripts(Part(rf"\operatorname{{{name}}}", "open"), call=True)
        if name in GREEK:
            return self.scripts(Part(rf"\{name} ", "operand"), call=True)
        if name[0] == "d" and len(name) > 1 and (len(name) == 2 or name[1:] in GREEK):
            tail = rf"\{name[1:]} " if name[1:] in GREEK else name[1:]
            rest = self.scripts(Part(tail, "operand"), call=True).latex
            return Part(rf"\mathrm{{d}}{rest}", "operand", differential=rest)
        if name in OPERANDS:
            return self.scripts(Part(rf"\text{{{name}}}", "operand"))
        article = (
            name == "a" and follows == " " and len(self.peek(1)) > 2 and self.peek(1).isalpha()
        )
        if len(name) > 2 or name in SHORT_WORDS or article:
            return Part(name, "word")
        if len(name) == 2:
            raise FormulaError(f"{name}: two letters are neither a variable nor a word")
        return self.scripts(Part(name, "operand"), call=True)

    def group(self, opening: str) -> Part:
        """Read a bracket and what it holds."""
        inside = self.closed(opening)
        return self.scripts(
            Part(_bracket(opening, inside), "operand", inside if opening == "(" else None)
        )

    def closed(self, opening: str) -> str:
        """Translate up to the closing bracket and read it."""
        inside = self.sequence(CLOSING[opening])
        if self.peek() != CLOSING[opening]:
            raise FormulaError(f"{opening} is not closed")
        self.take()
        return inside

    def scripts(self, base: Part, call: bool = False) -> Part:
        """Read the scripts, indices and arguments that follow an operand without a space."""
        latex, kind = base.latex, base.kind
        while True:
            follows = self.peek()
            if follows in ("_", "^") and not self.peek(1).isspace():
                self.take()
                latex += rf"{follows}{{{self.script()}}}"
            elif follows == "'":
                self.take()
                latex += "'"
            elif follows == "[" or (follows == "(" and call):
                self.take()
                latex, kind = latex + _bracket(follows, self.closed(follows)), "operand"
            else:
                break
        return base if latex == base.latex else Part(latex, kind)

    def script(self) -> str:
        """Read a subscript or superscript."""
        token = self.take()
        if token in ("(", "{"):
            return self.closed(token)
        if token == "T":
            return r"\mathsf{T}"
        if token == "-":
            return "-" + self.take()
        return " ".join(token)


def _bracket(opening: str, inside: str) -> str:
    """Put LaTeX in brackets, which grow only with what is high.

    A browser without a font for formulas makes brackets that may grow too high.
    """
    if opening == "|" or any(high in inside for high in (r"\frac", r"\sum", r"\left")):
        return rf"\left{opening}{inside}\right{CLOSING[opening]}"
    return f"{opening}{inside}{CLOSING[opening]}"


def _joined(parts: list[Part]) -> str:
    """Join parts; words next to each other become one text."""
    made, before = "", ""
    for k, part in enumerate(parts):
        follows = parts[k + 1].kind if k + 1 < len(parts) else ""
        if part.kind == "word":
            made = made[: -len("}")] if before == "word" else rf"{made}\text{{"
            spaced = k > 0 and parts[k - 1].kind == "space"
            made += f"{' ' * spaced}{part.latex}{' ' * (follows == 'space')}}}"
            made = made.replace("  ", " ")
        elif part.kind == "space":
            product = before == "operand" and follows in ("operand", "open")
            made += part.latex or (r"\, " if product else "")
        else:
            made += part.latex
        if part.kind != "space" or part.latex:
            before = part.kind
    return made
