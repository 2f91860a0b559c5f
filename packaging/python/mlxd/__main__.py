from mlxd import _main

_main()
