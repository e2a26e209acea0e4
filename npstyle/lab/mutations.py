"""Wrong formulas to learn from: each is the right one with one mistake, and must be caught.

The tests try these and many more. The atlas shows how each of these was caught. The mistakes are in
`layer_mutations` (layers and losses), `whole_mutations` (networks, objectives, the search,
trainings) and `engine_mutations` (Winograd's convolution and the objective by tiles).
"""

from npstyle.lab.engine_mutations import ENGINE
from npstyle.lab.layer_mutations import LAYERS, Mutation
from npstyle.lab.whole_mutations import WHOLE

MUTATIONS: dict[str, Mutation] = LAYERS | WHOLE | ENGINE
"""By name; those of a chapter are in the order in which a page shows them."""
