from .engine.bind import BoundNetwork as BoundNetwork
from .engine.bind import bind as bind
from .engine.guides import Region as Region
from .engine.guides import Source as Source
from .engine.losses import Evaluation as Evaluation
from .engine.losses import Losses as Losses
from .engine.objective import StyleObjective as StyleObjective
from .errors import InputError as InputError
from .images.read import load_image as load_image
from .images.write import save_image as save_image
from .lab.gradcheck import check_gradient as check_gradient
from .networks.network import Network as Network
from .networks.network import configure as configure
from .networks.network import load_network as load_network
from .run.machine import Machine as Machine
from .run.plan import Plan as Plan
from .run.settings import PRESETS as PRESETS
from .run.settings import Settings as Settings
from .run.transfer import State as State
from .run.transfer import Transfer as Transfer
from .run.transfer import transfer as transfer
from .search.optimize import Progress as Progress
from .search.optimize import Result as Result
from .search.optimize import optimize as optimize
from .tiles.objective import TiledObjective as TiledObjective

__version__: str
