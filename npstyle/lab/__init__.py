"""The laboratory: the textbook is checked numerically, and the engine against the textbook.

Checking any derivative:

- `gradcheck`  `check_gradient`, the entry point, and the report it returns
- `methods`    central differences, Taylor remainders, the adjoint test, the complex step
- `probes`     a function along one line: slopes, kinks, rounding
- `precision`  how finely a function's values move, and what can be checked then
- `trial`      any function and its backward function, made scalar
- `forward_mode` forward derivatives and Hessian-vector products
- `calling`, `formula`  the functions that users write: parameters, fixed inputs, several outputs
- `userfile`   a function and its derivatives from a user's file
- `pytest_plugin`  the fixture `gradcheck` for the tests of other projects

Checking npstyle:

- `subjects`, `pages`, `battery`  the derivatives of the textbook, by chapter
- `pairs`, `agreement`            every function of the engine against the textbook
- `kinks`, `whole`                layers, passes, objectives and tiles of a whole network
- `training`, `whole_training`    the same for the steps of a training
- `mutations`                     wrong derivatives, which must all be caught
- `on_gpu`                        numerical checks of the kernels on a GPU
- `suite`                         all of it, one report after another
- `explain`, `summary`, `plots`   chapters and results to look at
"""
