"""How tasks are run: one executor, pools of threads and coroutines, and the dispatcher that feeds them."""
