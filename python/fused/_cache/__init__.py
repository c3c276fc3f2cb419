"""``@fused.cache``: what a function returned is kept on disk and given again (seed 000, ``cache``).

A call goes: ``decorator`` (settings, canonical arguments) → ``key`` (``code``: the function and what it reaches;
``content``: arguments by value) → ``flow`` (memory → file → one computation) with ``locks`` → ``store`` (one file an
entry, ``entry``) with ``values`` (value ⇄ bytes). ``place`` says in which folder, ``secret`` whose entries they are.
docs/decisions/0005-function-cache.md says why.
"""
