"""The atlas: pages to look at, made from the textbook itself.

- `formulas`      the formulas of the docstrings, as LaTeX and as MathML
- `docstrings`    a docstring's headings, paragraphs and formulas, as HTML
- `links`         which line of code computes which formula
- `sources`       the code of a chapter, line by line
- `charts`        line charts as SVG
- `diagram`       the chain rule as a diagram
- `heatmaps`      arrays as pictures
- `examples`      small arrays, run through the textbook: which numbers made which
- `chapters`      the page of one chapter
- `evaluation`    one evaluation of the objective, layer by layer
- `running`       one run of the search
- `site`          the whole atlas, written to a folder
- `live`          a run as it goes on: `npstyle transfer --live`
"""
